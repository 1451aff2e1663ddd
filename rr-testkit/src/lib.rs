//! Test tools for applications and transports of rr.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | call your routes in a unit test, without a network | [`loopback`] |
//! | connect a requester and a server at `memory://name` | [`MemoryRequester`], [`serve`] |
//! | test an application through an outage in memory | [`MemoryLink`] |
//! | see what observers are told | [`Reports`] |
//! | lose single requests and replies in memory | [`MemoryFaults`] |
//! | cut connections between real sockets | `TcpProxy` (feature `proxy`) |
//! | cut in-process streams at any byte | `StreamLink` (feature `proxy`) |
//! | run real NATS servers | `NatsServer` (feature `nats-server`) |
//! | prove that a transport conforms | `conformance` (feature `conformance`) |
//!
//! The in-memory transport passes values instead of bytes. It applies the same rules and limits as
//! every other transport, so that an application's unit tests exercise them.

#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
mod loopback;
mod memory;
#[cfg(feature = "nats-server")]
mod nats_server;
#[cfg(feature = "proxy")]
mod proxy;
mod reports;
#[cfg(feature = "proxy")]
mod stream_link;
mod sync;

pub use loopback::{Loopback, loopback, loopback_with};
pub use memory::{MemoryFault, MemoryFaults, MemoryLink, MemoryRequester, serve, serve_with};
#[cfg(feature = "nats-server")]
pub use nats_server::{NatsServer, NatsServerSetup};
#[cfg(feature = "proxy")]
pub use proxy::TcpProxy;
pub use reports::Reports;
#[cfg(feature = "proxy")]
pub use stream_link::{Direction, StreamLink};
