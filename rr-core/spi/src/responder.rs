//! The server side: handlers of requests.

use async_trait::async_trait;

use crate::box_future::forward_to_pointee;
use crate::context::Context;
use crate::error::Error;
use crate::request::Request;
use crate::response::Response;

/// Handles one request.
///
/// # Contract
///
/// * The future is dropped at the deadline or when the caller cancels, at any await. Run work that
///   must finish through [`Context::shield`](crate::Context::shield).
/// * An error made with [`Error::new`] is the responder's own reply and travels unchanged. The
///   error of a downstream call that leaves by `?` is re-scoped.
///
/// # For implementors
///
/// Implement this trait for a handler that needs state; otherwise an async function suffices.
///
/// # For wrappers
///
/// Once a responder has been entered, the call counts as run. A wrapper that must be able to refuse
/// a call as *not run* has to be a [`Middleware`](crate::Middleware).
///
/// # Cancel safety
///
/// Dropping the future cancels the call; see the contract.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use rr_core::{Context, Error, Request, Responder, Response, async_trait};
///
/// /// Answers every method of a service with its name.
/// struct Echo;
///
/// #[async_trait]
/// impl Responder for Echo {
///     async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
///         Ok(Response::new(request.target.method().to_owned()))
///     }
/// }
/// ```
#[async_trait]
pub trait Responder: Send + Sync + 'static {
    /// Handles one request.
    ///
    /// # Errors
    ///
    /// Those of the responder. The caller receives every error as `Processed`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the handler at its current await.
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error>;
}

forward_to_pointee!(Responder::respond for std::sync::Arc<T>, Box<T>, &'static T);
