//! The client side of a transport.

use async_trait::async_trait;

use crate::box_future::forward_to_pointee;
use crate::context::Context;
use crate::error::Error;
use crate::request::Request;
use crate::response::Response;

/// Sends one request and waits for its response.
///
/// # Contract
///
/// * One call is one attempt: an implementation never retries once the request may have left.
/// * Every error states its true [`Delivery`](crate::Delivery). Reporting `NotSent` or `Rejected`
///   although the handler ran is a bug of the highest class.
/// * The call ends at the context's deadline, or when the context is cancelled.
///
/// # For implementors
///
/// Run the call through [`Attempt`](crate::Attempt), which implements these rules; check the body
/// with [`Limits`](crate::Limits). Apply no default timeout other than `Attempt`'s.
///
/// # For wrappers
///
/// Pass on the context. Where possible, use [`Middleware`](crate::Middleware) instead of
/// implementing this trait.
///
/// # Cancel safety
///
/// Dropping the future cancels the call: its resources are freed immediately, and the peer is
/// notified on a best-effort basis. The handler may have run.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use std::sync::Arc;
///
/// use rr_core::{Context, Error, Request, Requester, Response, async_trait};
///
/// /// Requester that answers every call itself, for a test.
/// struct Fixed(&'static str);
///
/// #[async_trait]
/// impl Requester for Fixed {
///     async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
///         Ok(Response::new(self.0))
///     }
/// }
///
/// let client: Arc<dyn Requester> = Arc::new(Fixed("pong"));
/// ```
#[async_trait]
pub trait Requester: Send + Sync + 'static {
    /// Sends one request and waits for its response.
    ///
    /// # Errors
    ///
    /// Any code; `DeadlineExceeded` or `Canceled` when the context ended first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error>;
}

forward_to_pointee!(Requester::request for std::sync::Arc<T>, Box<T>, &'static T);
