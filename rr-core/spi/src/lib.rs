//! Traits and shared rules for implementing a transport for rr.
//!
//! Applications depend on `rr-core`, which re-exports all of this crate and contains the guide.
//! Transport authors need only this crate.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | send one request | [`Requester`], [`Request`], [`Response`], [`Target`], [`Headers`] |
//! | answer requests | [`Responder`], [`Routes`] |
//! | receive several replies to one request | [`ManyRequester`], [`ReplySink`] |
//! | wrap either side | [`Middleware`], [`Next`] |
//! | bound a call in time, or cancel it | [`Context`], [`Deadline`], [`CancelHandle`], [`Cause`] |
//! | say what went wrong, and whether the handler may have run | [`Error`], [`Code`], [`Delivery`] |
//! | write the client side of a transport | [`Attempt`], [`Limits`], [`Doubt`], [`dial`], [`wire`] |
//! | write the server side of a transport | [`Intake`], [`Inbound`], [`Server`], [`Shutdown`] |
//! | see the outcome of every request and attempt | [`observe`] |
//!
//! A transport is two thin layers around [`Attempt`] and [`Intake`]: it moves bytes and reports
//! when they leave ([`Attempt::sent`]). This crate decides about deadlines, cancellation,
//! admission, panics, re-scoping and drain for all transports.

#![forbid(unsafe_code)]

mod app_error;
mod attempt;
mod box_future;
mod call_config;
mod checked_headers;
mod contained;
mod context;
mod dedup;
pub mod defaults;
pub mod dial;
mod doubt;
pub mod duration;
mod entropy;
mod error;
mod excerpt;
mod headers;
mod host_port;
mod idempotency;
mod in_flight;
mod inbound;
mod intake;
mod limits;
mod location;
mod many;
mod middleware;
pub mod observe;
pub mod options;
mod peer;
mod progress;
mod readiness;
mod recording;
mod request;
mod request_info;
mod requester;
mod rescope;
mod responder;
mod response;
mod route_handler;
mod routes;
mod server;
mod spent;
mod target;
mod timeline;
pub mod wire;

pub use async_trait::async_trait;
pub use bytes::Bytes;

pub use app_error::{AppError, HandlerError};
pub use attempt::{Attempt, Run};
pub use box_future::BoxFuture;
pub use call_config::CallConfig;
pub use context::{
    CancelHandle, Cause, Context, Criticality, Deadline, Mark, Passage, Race, Shield,
};
pub use dedup::Dedup;
pub use doubt::Doubt;
pub use entropy::{Entropy, OsEntropy, SeedGuard, SeededEntropy, jittered};
pub use error::{
    AttemptRecord, Code, Delivery, Detail, Error, Origin, Reason, RetryDecision, RetryHint,
};
pub use excerpt::excerpt;
pub use headers::{Headers, Received};
pub use host_port::HostPort;
pub use idempotency::{Idempotency, IdempotencyKey};
pub use in_flight::DrainReport;
pub use inbound::Inbound;
pub use intake::{BodyAccount, BodyBudget, BodyShare, Handle, Intake, IntakeConfig};
pub use limits::Limits;
pub use location::Location;
pub use many::{ManyConfig, ManyEnd, ManyReply, ManyRequester, ReplySink};
pub use middleware::{Middleware, Next};
pub use peer::{Peer, PeerIdentity};
pub use progress::Progress;
pub use readiness::{FailedCheck, Readiness};
pub use recording::Recording;
pub use request::Request;
pub use request_info::RequestInfo;
pub use requester::Requester;
pub use rescope::{rescope, rescope_called};
pub use responder::Responder;
pub use response::Response;
pub use routes::{Declared, Route, RouteMatch, Routes};
pub use server::{Server, ServerUrl, Shutdown, WeakServer};
pub use spent::Spent;
pub use target::Target;
pub use timeline::{Stage, Timeline};
