//! One request with several replies: when a collection ends, and its errors.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod endpoints;
#[cfg(feature = "http")]
mod hosts;
mod rules;
mod support;
