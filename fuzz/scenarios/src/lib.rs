//! Scenarios for coverage-guided fuzzing: each reads its course from bytes and panics when a rule of
//! rr is broken.
//!
//! `fuzz/` runs them under libFuzzer; `tests/corpora.rs` replays the corpora in ordinary tests.

#![forbid(unsafe_code)]

mod dedup;
mod gzip;
mod http_client;
mod http_server;
mod input;
mod nats_wire;
mod pipe;
mod proxy_header;
mod recording;
mod stateful;
mod wire;
mod world;

pub use dedup::dedup;
pub use gzip::{gzip, zstd};
pub use http_client::http_client;
pub use http_server::http_server;
pub use nats_wire::nats_wire;
pub use proxy_header::proxy_header;
pub use recording::recording;
pub use stateful::{Plant, stateful, stateful_with};
pub use wire::wire;
