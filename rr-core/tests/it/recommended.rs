//! The recommended layers: what they do, never do, and why they have their order. In virtual time,
//! but where a transport is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod around_calls;
mod around_routes;
mod order_of_calls;
mod order_of_routes;
mod tiers;
