//! The client side of a transport.

use async_trait::async_trait;

use crate::BoxFuture;
use crate::context::Context;
use crate::error::Error;
use crate::request::Request;
use crate::response::Response;

/// Sends one request and waits for its response.
///
/// # Contract
///
/// * One call is one attempt: an implementation never retries on its own once the request may
///   have left.
/// * Every error states its [`Delivery`](crate::Delivery) truthfully. `NotSent` or `Rejected`
///   while the handler ran is a bug of the highest class.
/// * The call ends by the context's deadline, and when the context is cancelled.
///
/// # For implementors
///
/// Run the call through [`Attempt`](crate::Attempt), which holds these rules; check the body with
/// [`Limits`](crate::Limits). Apply no default but `Attempt`'s.
///
/// # For wrappers
///
/// Pass the context on. Use [`Middleware`](crate::Middleware) rather than an implementation of
/// this trait where you can.
///
/// # Cancel safety
///
/// Dropping the future cancels the call: what it held is freed at once, and the peer is told on a
/// best-effort basis. The handler may have run.
#[async_trait]
pub trait Requester: Send + Sync + 'static {
    /// Sends one request and waits for its response.
    ///
    /// # Errors
    ///
    /// Any code; `DeadlineExceeded` and `Canceled` when the context ended first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error>;
}

/// Forwards the boxed future of the inner value, without a second allocation.
macro_rules! forward {
    ($($(#[$attribute:meta])* impl<T> for $outer:ty;)*) => {$(
        impl<T: Requester + ?Sized> Requester for $outer {
            fn request<'a, 'c, 'f>(
                &'a self,
                ctx: &'c Context,
                request: Request,
            ) -> BoxFuture<'f, Result<Response, Error>>
            where
                'a: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).request(ctx, request)
            }
        }
    )*};
}

forward! {
    impl<T> for std::sync::Arc<T>;
    impl<T> for Box<T>;
    impl<T> for &'static T;
}
