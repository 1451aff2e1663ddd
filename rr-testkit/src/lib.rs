//! Tests for applications and transports of rr.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | call your routes in a unit test, without a network | [`loopback`] |
//! | let a requester and a server meet at `memory://name` | [`MemoryRequester`], [`serve`] |
//! | see an application live through an outage in memory | [`MemoryLink`] |
//! | lose single requests and replies in memory | [`MemoryFaults`] |
//! | cut connections between real sockets | `TcpProxy` (feature `proxy`) |
//! | cut streams within the process, at any byte | `StreamLink` (feature `proxy`) |
//! | run real NATS servers | `NatsServer` (feature `nats-server`) |
//! | prove that a transport keeps the rules | `conformance` (feature `conformance`) |
//!
//! The in-memory transport passes values through the same rules as every other transport, with
//! the same limits, so that an application meets them in its unit tests.

#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
mod loopback;
mod memory;
#[cfg(feature = "nats-server")]
mod nats_server;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "proxy")]
mod stream_link;

pub use loopback::{Loopback, loopback, loopback_with};
pub use memory::{MemoryFault, MemoryFaults, MemoryLink, MemoryRequester, serve, serve_with};
#[cfg(feature = "nats-server")]
pub use nats_server::{NatsServer, NatsServerSetup};
#[cfg(feature = "proxy")]
pub use proxy::TcpProxy;
#[cfg(feature = "proxy")]
pub use stream_link::{Direction, StreamLink};
