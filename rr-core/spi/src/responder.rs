//! The server side: what answers requests.

use async_trait::async_trait;

use crate::BoxFuture;
use crate::context::Context;
use crate::error::Error;
use crate::request::Request;
use crate::response::Response;

/// Answers one request.
///
/// # Contract
///
/// * The future is dropped at the deadline and when the caller cancels, at any await. Work that
///   must finish goes into [`Context::shield`](crate::Context::shield).
/// * An error made with [`Error::new`] is the responder's own answer and travels as it is. An
///   error of a call further down that leaves by `?` is re-scoped on its way out.
///
/// # For implementors
///
/// Implement this where a handler needs state of its own; plain async functions do otherwise.
///
/// # For wrappers
///
/// Once a responder has been entered, the call counts as run. A wrapper that must be able to
/// refuse a call as *not run* is a [`Middleware`](crate::Middleware).
///
/// # Cancel safety
///
/// See the contract: dropping the future is how a call is cancelled.
#[async_trait]
pub trait Responder: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Errors
    ///
    /// What the responder decides. On its way out every error says `Processed`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the handler at its current await.
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error>;
}

/// Forwards the boxed future of the inner value, without a second allocation.
macro_rules! forward {
    ($(impl<T> for $outer:ty;)*) => {$(
        impl<T: Responder + ?Sized> Responder for $outer {
            fn respond<'a, 'c, 'f>(
                &'a self,
                ctx: &'c Context,
                request: Request,
            ) -> BoxFuture<'f, Result<Response, Error>>
            where
                'a: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).respond(ctx, request)
            }
        }
    )*};
}

forward! {
    impl<T> for std::sync::Arc<T>;
    impl<T> for Box<T>;
    impl<T> for &'static T;
}
