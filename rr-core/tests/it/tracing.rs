//! Spans and events of `tracing`: the tree, the fields, the levels, and what is never logged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod failures;
mod layers;
mod secrets;
mod spans;
mod subscribers;
mod support;
mod throttled;
#[cfg(any(feature = "http", feature = "memory", feature = "nats"))]
mod whole;
