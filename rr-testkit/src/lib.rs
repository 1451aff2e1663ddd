//! Test tools for applications and transports of rr.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | call your routes in a unit test, without a network | [`loopback`] |
//! | stand in for a service, with answers by expectation or by hand | `Mock` (feature `mock`) |
//! | connect a requester and a server at `memory://name` | [`MemoryRequester`], [`serve`] |
//! | test an application through an outage in memory | [`MemoryLink`] |
//! | lose single requests and replies in memory | [`MemoryFaults`] |
//! | strike one message of an application with one fault | `worlds::Network` (feature `worlds`) |
//! | test an application in every world of up to k faults | `worlds::Worlds` (feature `worlds`) |
//! | replay such a world over a real transport | `worlds::Worlds::replay_over` (feature `worlds`) |
//! | record what a server or a client reports to its observers | [`Reports`] |
//! | cut connections between real sockets | `TcpProxy` (feature `proxy`) |
//! | cut in-process streams at any byte | `StreamLink` (feature `proxy`) |
//! | run real NATS servers | `NatsServer` (feature `nats-server`) |
//! | prove that a transport conforms | `conformance` (feature `conformance`) |
//! | prove that a wrapper of a transport states the delivery truthfully in every world | `conformance::every_world` (features `conformance` and `worlds`) |
//!
//! The in-memory transport passes values instead of bytes. It applies the same rules and limits as
//! every other transport, so that an application's unit tests exercise them.

#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
mod loopback;
mod memory;
#[cfg(feature = "mock")]
mod mock;
#[cfg(feature = "nats-server")]
mod nats_server;
#[cfg(feature = "proxy")]
mod proxy;
mod reports;
#[cfg(feature = "proxy")]
mod stream_link;
mod sync;
#[cfg(feature = "worlds")]
pub mod worlds;

pub use loopback::{Loopback, loopback, loopback_with};
pub use memory::{MemoryFault, MemoryFaults, MemoryLink, MemoryRequester, serve, serve_with};
#[cfg(feature = "mock")]
pub use mock::{Expectation, Mock, MockFailure, MockRequest, Times};
#[cfg(feature = "nats-server")]
pub use nats_server::{NatsServer, NatsServerSetup};
#[cfg(feature = "proxy")]
pub use proxy::TcpProxy;
pub use reports::{Report, Reports};
#[cfg(feature = "proxy")]
pub use stream_link::{Direction, StreamLink};
