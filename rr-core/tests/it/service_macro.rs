//! `#[service]`: a trait called through its client, on every transport.

#![cfg(feature = "macros")]
#![allow(clippy::unwrap_used, reason = "tests and what they share")]

mod bounds;
mod calls;
mod codecs;
mod errors;
mod forms;
mod idempotency;
mod options;
mod replies;
mod run_to_end;
#[cfg(feature = "schema")]
mod schemas;
mod shop;
mod support;
