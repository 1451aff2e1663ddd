//! NATS transport for `rr`, over async-nats.
//!
//! Applications depend on `rr-core` with its feature `nats`, which compiles this crate in, and
//! connect by URL. Use this crate directly for settings that a URL cannot express.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | send requests | [`NatsRequester`], [`NatsConfig`] |
//! | receive several replies to one request | [`NatsRequester`], by `rr_core::many` |
//! | answer requests | [`serve`], [`serve_with`], [`NatsServerConfig`], [`NatsDispatch`] |
//! | set connection options | [`NatsConnectionConfig`] |
//! | authenticate | [`NatsCredentials`], [`NatsAuth`], [`NatsAuthCallback`] |
//! | configure several transports in one place | [`NatsSection`], [`NatsServerSection`] |
//! | read statistics | [`NatsState`], [`NatsStats`], [`serve_with_stats`], [`NatsServerStats`] |
//!
//! # URLs
//!
//! Both ends take `nats://user:password@host1:4222,host2/prefix?name=orders&queue=blue`. With the
//! feature `tls`, `nats+tls://` or `tls://` requires TLS; with the feature `websockets`, `ws://`
//! connects over a websocket; with both, `wss://` connects over a websocket over TLS. The path is a
//! prefix of every subject: `/team` makes `service.ping` the subject `team.service.ping`. The query
//! sets options by field name. On both ends: `credentials_file`, `nkey_file`, `tls_first`, with the
//! feature `tls` the options of `rr_tls::TlsConfig` with the prefix `tls_`, `name`, `inbox_prefix`,
//! `connect_timeout`, `ping_interval`, `members_interval`, `ignore_discovered`, `clocks_agree` and
//! `in_flight_max`; on a requester: `timeout` and `connection_wait`; on a server: `queue` (empty
//! for none), `sole_group`, `dispatch` and `version`. Both ends check every option. The fields in
//! [`NatsConfig`], [`NatsServerConfig`] and [`NatsConnectionConfig`] document each option.
//!
//! # Reconnecting
//!
//! rr-nats uses each async-nats client for one connection and does not let it reconnect: async-nats
//! would send messages late that it queued while disconnected. rr-nats makes the next connection
//! itself. A call that loses its connection fails with `NotSent` if its request was never handed
//! over, and with `Unknown` otherwise.
//!
//! # Examples
//!
//! ```no_run
//! use rr_nats::NatsRequester;
//! use rr_spi::{Context, Request, Requester};
//!
//! # async fn example() -> Result<(), rr_spi::Error> {
//! let client = NatsRequester::connect("nats://127.0.0.1:4222").await?;
//! let request = Request::new("service.ping".try_into()?, "ping");
//! let response = client.request(&Context::background(), request).await?;
//! # drop(response);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod clock;
mod config;
mod connection;
mod endpoint;
mod error;
#[cfg(feature = "_fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod requester;
mod scheme;
mod server;
mod sync;
mod wire;

pub use config::{
    NatsAuth, NatsAuthCallback, NatsConfig, NatsConnectionConfig, NatsCredentials, NatsDispatch,
    NatsSection, NatsServerConfig, NatsServerSection,
};
pub use connection::{NatsState, NatsStats};
pub use requester::NatsRequester;
pub use server::{NatsServerStats, serve, serve_with, serve_with_stats};
