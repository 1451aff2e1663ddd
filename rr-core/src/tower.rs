//! Layers and services of tower, both ways.
//!
//! | you have | you want | use |
//! |---|---|---|
//! | a tower `Layer` or `ServiceBuilder` | a [`Middleware`](crate::Middleware) for [`Stack`](crate::Stack) or [`Router::with`](crate::Router::with) | [`LayerMiddleware`] |
//! | a [`Middleware`](crate::Middleware) | a tower `Layer` | [`MiddlewareLayer`] |
//! | a [`Requester`](crate::Requester) | a tower `Service` | [`RequesterService`] |
//! | a tower `Service` | a [`Requester`](crate::Requester) | [`ServiceRequester`] |
//!
//! The request of every such service is a [`CallRequest`]: a [`Request`](crate::Request) with its
//! [`Context`](crate::Context). To mount a router in an HTTP server of tower, such as axum, use
//! `rr_http::service`, whose requests are HTTP.
//!
//! # Readiness
//!
//! `poll_ready` of a layer or a service is awaited within the call, under its deadline, and ends with
//! it. Services made here are always ready.
//!
//! # Errors
//!
//! An [`Error`](crate::Error) passes through layers, also inside a boxed error. An error of a layer
//! itself (a timeout, a full buffer, load shed) becomes an [`Error`](crate::Error) with the delivery
//! that is proved:
//!
//! * around a requester, [`LayerMiddleware`] reports `NotSent` if the layer never ran the rest of the
//!   call, otherwise the worst delivery of the runs; a run that the layer dropped is `Unknown`;
//! * around a route, `Rejected` if the handler has not been entered, otherwise `Processed`;
//! * [`ServiceRequester`] reports `NotSent` until the service has taken the request, and `Unknown`
//!   afterwards, since nothing shows what the service does with it. If a layer clones the request,
//!   every error is at least `Unknown`.
//!
//! Its code is `Unavailable`, unless `with_codes` maps it. This crate does not know the error types
//! of tower, which it does not depend on:
//!
//! ```ignore
//! let layer = ServiceBuilder::new().load_shed().concurrency_limit(64);
//! let layer = LayerMiddleware::new(layer).with_codes(|error| match error.is::<Overloaded>() {
//!     true => Code::ResourceExhausted,
//!     false => Code::Unavailable,
//! });
//! let client = Stack::new(connect(url).await?).with(layer);
//! ```

mod call_request;
mod foreign;
mod layer_middleware;
mod middleware_layer;
mod requester_service;
mod runs;
mod service_requester;

pub use call_request::CallRequest;
pub use layer_middleware::{LayerMiddleware, NextService};
pub use middleware_layer::{MiddlewareLayer, MiddlewareService};
pub use requester_service::RequesterService;
pub use service_requester::ServiceRequester;
