//! NATS transport for `rr`, over async-nats.
//!
//! Applications name `rr-core` with its feature `nats` and connect by URL; this crate is what that
//! feature compiles in. It can be used directly for what a URL cannot say.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | send requests | [`NatsRequester`], [`NatsConfig`] |
//! | answer requests | [`serve`], [`serve_with`], [`NatsServerConfig`], [`NatsDispatch`] |
//! | say who you are, and how to connect | [`NatsConnectionConfig`], [`NatsCredentials`] |
//! | watch what happens | [`NatsState`], [`NatsStats`], [`serve_with_stats`], [`NatsServerStats`] |
//!
//! # URLs
//!
//! `nats://user:password@host1:4222,host2/prefix?name=orders&queue=blue`, for both ends. The path
//! is a prefix of every subject: `/team` makes `service.ping` the subject `team.service.ping`. The
//! query sets `name`, `inbox_prefix`, `connect_timeout`, `ping_interval`, `members_interval`,
//! `ignore_discovered` and `clocks_agree`; of a requester `timeout`, `connection_wait` and
//! `in_flight_max`; of a server `queue` (empty for none), `sole_group`, `dispatch` and
//! `version`. Each end leaves aside what is for the other; the fields of the same names in
//! [`NatsConfig`], [`NatsServerConfig`] and [`NatsConnectionConfig`] say what they do.
//!
//! # What is different here
//!
//! The client library is used for one connection at a time and never reconnects by itself: what it
//! queues while it is disconnected it would send late. rr-nats reconnects, and a call either says
//! that it was never handed over (`NotSent`), or `Unknown`.
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
mod server;
mod wait;
mod wire;

pub use config::{
    NatsConfig, NatsConnectionConfig, NatsCredentials, NatsDispatch, NatsServerConfig,
};
pub use connection::NatsState;
pub use requester::{NatsRequester, NatsStats};
pub use server::{NatsServerStats, serve, serve_with, serve_with_stats};
