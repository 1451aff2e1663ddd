//! Calls over several endpoints, in virtual time, over requesters that behave as they are told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod finagle;
mod moves;
mod outages;
pub(crate) mod support;
