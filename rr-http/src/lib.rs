//! HTTP transport for `rr`, over hyper: HTTP/1.1 and HTTP/2, compatible with Connect clients and
//! servers.
//!
//! Applications depend on `rr-core` with its feature `http` and connect by URL; the feature
//! compiles in this crate. Use this crate directly for settings that a URL cannot express.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | send requests | [`HttpRequester`], [`HttpConfig`], [`HttpVersion`] |
//! | answer requests | [`serve`], [`serve_with`], [`HttpServerConfig`] |
//! | mount rr in axum or another server of the application | [`service`], [`HttpService`] |
//! | answer other requests with a service of the application | [`HttpServerBuilder::with_fallback`] |
//! | use TLS | [`HttpConfig`] and [`HttpServerConfig`] with the feature `tls`, and the crate rr-tls |
//! | let web pages call | [`HttpServerConfig::cors_origins`], [`HttpOrigins`] |
//! | compress replies | [`HttpServerConfig::compress_bytes_min`], [`HttpConfig::accept_encoding`] |
//! | connect through a forward proxy | [`HttpConfig::proxy`], [`HttpProxy`] |
//! | count open connections | [`HttpRequester::connections`], [`serve_with_stats`], [`HttpServerStats`] |
//! | configure several transports in one place | [`HttpSection`], [`HttpServerSection`] |
//! | use connections that the application makes | [`HttpRequester::with_connector`], [`serve_streams`] |
//! | serve a socket that is already bound, such as systemd's | [`serve_on`], [`HttpListener`] |
//! | inspect the raw reply of a foreign server | [`RawReply`] |
//!
//! # URLs
//!
//! Both ends accept `http://host:port/prefix` and `http+unix:///path/to.sock`, and with the feature
//! `tls` also `https://host:port/prefix`. The query of a requester's URL sets fields of
//! [`HttpConfig`]: `?version=h2c` selects HTTP/2 with prior knowledge. A server answers both
//! versions on one port; over `https://`, requester and server agree on one in the handshake.
//!
//! # Examples
//!
//! ```no_run
//! use rr_http::HttpRequester;
//! use rr_spi::{Context, Request, Requester};
//!
//! # async fn example() -> Result<(), rr_spi::Error> {
//! let client = HttpRequester::connect("http://127.0.0.1:8080").await?;
//! let request = Request::new("service.ping".try_into()?, "hello");
//! let response = client.request(&Context::background(), request).await?;
//! # drop(response);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod body;
mod compression;
mod config;
mod connector;
mod endpoint;
mod error;
#[cfg(feature = "_fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hosts;
mod origins;
mod pool;
mod proxy;
mod requester;
mod self_wake;
mod server;
mod socket;
mod sync;
mod wire;
mod write_batching;

pub use config::{
    HttpConfig, HttpEncoding, HttpProxyProtocol, HttpRefusals, HttpSection, HttpServerConfig,
    HttpServerSection, HttpStatusCodes, HttpVersion,
};
pub use error::RawReply;
pub use hosts::HttpAddresses;
pub use origins::HttpOrigins;
pub use proxy::HttpProxy;
pub use requester::HttpRequester;
pub use server::{
    HttpListener, HttpReplyBody, HttpReplyFuture, HttpRequestBody, HttpServerBuilder,
    HttpServerStats, HttpService, serve, serve_on, serve_streams, serve_with, serve_with_stats,
    service,
};
