//! One request-response API over any transport: HTTP, NATS or memory, chosen by URL.
//!
//! Write calls and handlers once; the URL selects the transport. Deadlines, cancellation, errors
//! and drain behave the same on every transport, and every error states truthfully whether the
//! handler may have run.
//!
#![cfg_attr(all(feature = "json", feature = "memory"), doc = "```")]
#![cfg_attr(not(all(feature = "json", feature = "memory")), doc = "```ignore")]
//! use std::time::Duration;
//! use rr_core::{Context, Error, RequesterExt, Router, connect, serve};
//!
//! async fn greet(name: String) -> Result<String, Error> {
//!     Ok(format!("Hello, {name}!"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rr_core::CallError> {
//! // Another URL, such as http://127.0.0.1:0, changes nothing else.
//! let server = serve("memory://greeter", Router::new().route("greeter.greet", greet)).await?;
//!
//! let client = connect(server.url()).await?;
//! let ctx = Context::background().with_timeout(Duration::from_secs(2));
//! let greeting: String = client.call(&ctx, "greeter.greet", "world").await?;
//! assert_eq!(greeting, "Hello, world!");
//!
//! server.shutdown(Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | answer requests | [`Router`], [`Service`], [`HandlerExt`], [`serve`], [`serve_until`] |
#![cfg_attr(
    feature = "macros",
    doc = "| describe a service as a trait, for both ends | [`#[service]`](macro@service) |"
)]
#![cfg_attr(
    feature = "macros",
    doc = "| learn why a function is not a handler | [`#[handler]`](macro@handler) |"
)]
#![cfg_attr(
    feature = "schema",
    doc = "| publish the types of a service as JSON Schemas, or as OpenAPI | [`schema`], [`openapi`](openapi()) |"
)]
//! | make calls | [`connect`], [`RequesterExt`], [`call`], [`CallError`], [`Reply`] |
//! | serve one router at several URLs | [`serve_all`], [`Servers`] |
//! | configure either end from a file or the environment | [`config::ClientConfig`], [`config::ServerConfig`] |
//! | bound a call in time, or cancel it | [`Context`] |
//! | know what went wrong, and whether the handler ran | [`Error`], [`Code`], [`Delivery`] |
//! | wrap calls on either side | [`Stack`], [`Middleware`], [`Router::with`] |
#![cfg_attr(
    feature = "tower",
    doc = "| use layers and services of tower, or be used by them | [`tower`] |"
)]
//! | see what became of every request, attempt and call | [`observe`], [`recommended_with`] |
#![cfg_attr(
    feature = "admin",
    doc = "| see what is in flight and what failed last, in a browser | [`admin`] |"
)]
#![cfg_attr(
    feature = "record",
    doc = "| record calls in a file, and answer calls from one | [`record`] |"
)]
//! | survive failures and overload with the recommended layers | [`recommended`], [`recommended_server`] |
//! | try failed calls again, safely | [`retry`], [`Idempotency`] |
//! | send a second request when the first takes unusually long | [`hedge`] |
//! | hold calls back while the destination fails | [`throttle`] |
//! | limit the calls in flight, or per second | [`limit`] |
//! | balance calls over several endpoints | [`balance`] |
//! | collect several replies to one request | [`many`] |
//! | run a request with an idempotency key once | [`dedup`] |
//! | forward requests to another requester | [`Forward`] |
//! | call routes in this process, without IO | [`Local`] |
//! | write a transport | [`transport`] |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `json` (default) | typed calls and handlers with JSON bodies |
//! | `macros` | `#[service]`: a trait becomes a typed client and a server; `#[handler]`: checks of handlers |
//! | `cbor`, `form`, `messagepack`, `postcard`, `protobuf` | further codecs of typed calls and handlers |
//! | `http` | `http://` and `http+unix://` URLs |
//! | `memory` | `memory://` URLs, for one process and for tests |
//! | `nats` | `nats://` URLs |
//! | `nkeys` | nkeys and credentials files for NATS |
//! | `websockets` | `ws://` URLs for NATS over websockets, and `wss://` URLs with the feature `tls` |
//! | `tls` | `https://` URLs, with the feature `http`; `nats+tls://` URLs, with `nats`; certificates of both ends, with rustls and ring |
//! | `aws-lc-rs` | TLS with the cryptography of AWS-LC instead of ring |
//! | `tower` | layers of tower as middleware, and the reverse: the module `tower` |
//! | `metrics` | metrics of every request, attempt and call through the facade `metrics`: `observe::MetricsObserver` |
//! | `tracing` | spans and events of every request, attempt and call: `observe::TracingObserver` |
//! | `record` | records of calls in a file, and a requester that answers from one: the module `record` |
//! | `admin` | a page of what is in flight and what failed last: the module `admin` |
//! | `schema` | JSON Schemas in the descriptions of services, and OpenAPI documents |
//! | `proxy-env` | `proxy=env` over HTTP: the forward proxy that the environment variables name |
//! | `zstd` | the content coding zstd over HTTP, besides gzip |
//!
//! Features are additive: any combination may be enabled.

#![cfg_attr(
    all(feature = "json", feature = "macros", feature = "memory"),
    doc = include_str!("guide.md")
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "admin")]
pub mod admin;
pub mod balance;
mod client;
#[cfg(feature = "json")]
pub mod codec;
pub mod config;
pub mod dedup;
mod error;
mod forward;
#[cfg(feature = "macros")]
mod handler_macro;
pub mod hedge;
#[cfg(feature = "http")]
mod hosts;
pub mod limit;
mod local;
pub mod many;
mod nesting;
pub mod observe;
#[cfg(feature = "schema")]
mod openapi;
mod recommended;
#[cfg(feature = "record")]
pub mod record;
#[cfg(feature = "json")]
mod reply;
mod requester_ext;
pub mod retry;
mod router;
#[cfg(feature = "schema")]
pub mod schema;
mod serve;
mod servers;
#[cfg(feature = "macros")]
mod service_macro;
mod services;
mod stack;
pub mod throttle;
#[cfg(feature = "tower")]
pub mod tower;
mod window;

/// Types of calls and handlers that applications rarely name.
pub mod call {
    pub use crate::error::NoAppError;
    pub use crate::requester_ext::{Call, Calling, IntoTarget, Outcome, Raw};
    #[cfg(feature = "json")]
    pub use crate::requester_ext::{CodecCalls, ReplyValue, Typed, TypedReply};
    pub use crate::router::{Handler, IntoHandler, Method};
    #[cfg(feature = "macros")]
    pub use crate::service_macro::{MethodDescription, ReplyHeaders, ServiceDescription};
    pub use crate::services::IntoMethod;
    #[doc(inline)]
    pub use rr_spi::{Detail, HandlerError};
}

/// Parts of a [`Context`]: how it ends, and what arrived with a request.
pub mod context {
    #[doc(inline)]
    pub use rr_spi::{CancelHandle, Cause, Criticality, Deadline, Peer, PeerIdentity, RequestInfo};
}

/// Items for transports and their tests. Transport authors depend on `rr-spi` alone, which exports
/// the same items at its root.
pub mod transport {
    #[doc(inline)]
    pub use rr_spi::{
        Attempt, BodyAccount, BodyBudget, BodyShare, BoxFuture, Declared, Dedup, Doubt, Entropy,
        FailedCheck, Handle, HostPort, Inbound, Intake, Location, Mark, Origin, OsEntropy, Passage,
        Race, Readiness, Received, Route, RouteMatch, Routes, Run, SeededEntropy, ServerUrl,
        Shield, Shutdown, WeakServer, dial, duration, excerpt, jittered, options, rescope,
        rescope_called, wire,
    };
}

#[doc(inline)]
pub use rr_spi::{
    AppError, Bytes, Code, Context, Delivery, DrainReport, Error, Headers, Idempotency,
    IdempotencyKey, Middleware, Next, Reason, Request, Requester, Responder, Response, Server,
    Target, async_trait, defaults,
};

pub use client::{Client, connect, connect_with};
pub use error::CallError;
pub use forward::Forward;
pub use local::Local;
#[cfg(feature = "schema")]
pub use openapi::openapi;
pub use recommended::{recommended, recommended_server, recommended_server_with, recommended_with};
#[cfg(feature = "json")]
pub use reply::Reply;
pub use requester_ext::RequesterExt;
pub use router::{HandlerExt, Router};
#[cfg(any(feature = "http", feature = "memory", feature = "nats"))]
pub use serve::shutdown_signal;
pub use serve::{serve, serve_until, serve_with};
pub use servers::{Servers, serve_all, serve_all_until, serve_all_with};
#[cfg(feature = "macros")]
pub use service_macro::CallOptions;
pub use services::Service;
pub use stack::Stack;

#[cfg(feature = "macros")]
#[doc = include_str!("service_macro/service.md")]
pub use rr_macros::service;

#[cfg(feature = "macros")]
#[doc = include_str!("handler_macro/handler.md")]
pub use rr_macros::handler;

#[cfg(feature = "macros")]
#[doc(hidden)]
pub use service_macro::generated as __service;

#[cfg(feature = "macros")]
#[doc(hidden)]
pub use handler_macro::generated as __handler;
