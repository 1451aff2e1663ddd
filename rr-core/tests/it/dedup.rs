//! Duplicate suppression: a keyed request runs once, and its duplicates hear the truth about it.

#![allow(clippy::unwrap_used, reason = "tests and what they share")]

mod duplicates;
mod properties;
mod retried;
mod stores;
mod support;
