//! What a transport for rr implements, and the rules that every transport shares.
//!
//! Applications depend on `rr-core`, which re-exports all of this crate; the full guide is there.
//! Transport authors depend on this crate alone.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | send one request | [`Requester`], [`Request`], [`Response`], [`Target`], [`Headers`] |
//! | answer requests | [`Responder`], [`Routes`] |
//! | wrap either side | [`Middleware`], [`Next`] |
//! | bound a call in time, or cancel it | [`Context`], [`Deadline`], [`CancelHandle`], [`Cause`] |
//! | say what went wrong, and whether the handler may have run | [`Error`], [`Code`], [`Delivery`] |
//! | write the client side of a transport | [`Attempt`], [`Limits`], [`Doubt`], [`dial`], [`wire`] |
//! | write the server side of a transport | [`Intake`], [`Inbound`], [`Server`], [`Shutdown`] |
//!
//! A transport is two small shells around [`Attempt`] and [`Intake`]: it moves bytes and says
//! truthfully when they left ([`Attempt::sent`]); deadlines, cancellation, admission, panics,
//! re-scoping and drain are decided here, once.

#![forbid(unsafe_code)]

mod app_error;
mod attempt;
mod call_config;
mod context;
pub mod defaults;
pub mod dial;
mod doubt;
pub mod duration;
mod entropy;
mod error;
mod headers;
mod host_port;
mod idempotency;
mod intake;
mod limits;
mod location;
mod middleware;
pub mod options;
mod request;
mod requester;
mod responder;
mod response;
mod routes;
mod server;
mod target;
pub mod wire;

use std::future::Future;
use std::pin::Pin;

pub use async_trait::async_trait;
pub use bytes::Bytes;

pub use app_error::{AppError, HandlerError};
pub use attempt::{Attempt, Run};
pub use call_config::CallConfig;
pub use context::{
    CancelHandle, Cause, Context, Criticality, Deadline, Mark, Passage, Race, Shield,
};
pub use doubt::Doubt;
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use error::{
    AttemptRecord, Code, Delivery, Detail, Error, Origin, Reason, RetryHint, RetryVerdict,
};
pub use headers::{Headers, Received};
pub use host_port::HostPort;
pub use idempotency::{Dedup, Idempotency, IdempotencyKey};
pub use intake::{
    BodyAccount, BodyBudget, BodyShare, Handle, Inbound, Intake, IntakeConfig, rescope,
    rescope_called,
};
pub use limits::Limits;
pub use location::Location;
pub use middleware::{Terminal, Middleware, Next};
pub use request::Request;
pub use requester::Requester;
pub use responder::Responder;
pub use response::Response;
pub use routes::{Declared, Found, Route, Routes};
pub use server::{DrainReport, Server, ServerUrl, Shutdown};
pub use target::Target;

/// A boxed future, as the traits of this crate return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
