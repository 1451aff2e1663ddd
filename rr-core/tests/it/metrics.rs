//! Metrics through the facade: what the exporter for Prometheus writes, over every transport.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod failures;
mod observer;
mod recorders;
mod support;
mod throttled;
