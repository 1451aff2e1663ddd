//! Hedging, throttling and limits: rules that other systems have tests for, under the names they have there, then
//! properties over any sequence of calls. All in virtual time but two, which need threads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod finagle_backup;
mod finagle_nack;
mod governor;
mod grpc_hedging;
mod netflix;
mod properties;
pub(crate) mod support;
mod tower;
