//! Recordings of calls: their lines, what they hide, what becomes of the calls, and their replay.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bounds;
mod format;
mod redaction;
mod replay;
mod support;
#[cfg(any(feature = "http", feature = "memory", feature = "nats"))]
mod transports;
