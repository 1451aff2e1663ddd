//! Configurations, files and handshakes, without a network.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

#[allow(dead_code, reason = "shared with the tests of the transports")]
mod authority;
mod config;
mod directory;
mod handshake;
mod reload;
