//! Wrappers around a call, on either side.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::box_future::BoxFuture;
use crate::context::{Context, Deadline};
use crate::error::{Delivery, Error};
use crate::request::Request;
use crate::requester::Requester;
use crate::responder::Responder;
use crate::response::Response;
use crate::route_handler::RouteHandler;

/// Wrapper around a call, on the requester's side or the responder's.
///
/// # Contract
///
/// * `next.run(ctx, request)` runs the rest of the call. A middleware may run it several times or
///   not at all.
/// * A middleware that runs `next` several times and returns an error returns the worst delivery of
///   all runs: a run that may have happened is not undone by another that did not.
/// * An error that a middleware itself makes is an [`Error::failure`], which states its delivery.
///   On the responder's side, a call refused before `next` ran is reported as `Rejected`.
///
/// # For implementors
///
/// Keep decisions in pure functions of `now` and state, and the implementation of this trait thin.
///
/// # For wrappers
///
/// Pass on the context or a child of it, never a new context.
///
/// # Cancel safety
///
/// Dropping the future drops the runs of `next`.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use rr_core::{Context, Error, Middleware, Next, Request, Response, async_trait};
///
/// /// Adds the name of this process to every reply.
/// struct ServedBy(&'static str);
///
/// #[async_trait]
/// impl Middleware for ServedBy {
///     async fn handle(
///         &self,
///         ctx: &Context,
///         request: Request,
///         next: Next<'_>,
///     ) -> Result<Response, Error> {
///         let mut response = next.run(ctx, request).await?;
///         response.headers.insert("x-served-by", self.0)?;
///         Ok(response)
///     }
/// }
/// ```
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// Handles one call; `next` runs the rest of it.
    ///
    /// # Errors
    ///
    /// Those of `next`, and the middleware's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the runs of `next`.
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error>;
}

/// End of a chain of middleware.
#[derive(Clone, Copy)]
enum Terminal<'a> {
    Requester(&'a dyn Requester),
    Responder(&'a dyn Responder),
    Route { handler: &'a RouteHandler, root: Option<&'a Context> },
}

/// Rest of a call: the inner middleware and the terminal.
///
/// `Next` is `Copy`, so that a retry can run it again and a hedge can poll two runs in one future.
/// It borrows, so it cannot be spawned and leaves no orphaned tasks.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    middleware: &'a [Arc<dyn Middleware>],
    terminal: Terminal<'a>,
    /// Deadline that an outer layer enforces; `None` if it enforces that of every context.
    enforced: Option<Option<Deadline>>,
}

impl<'a> Next<'a> {
    /// Makes the chain of a requester; the first middleware is the outermost.
    #[must_use]
    pub const fn for_requester(
        middleware: &'a [Arc<dyn Middleware>],
        requester: &'a dyn Requester,
    ) -> Self {
        Self { middleware, terminal: Terminal::Requester(requester), enforced: None }
    }

    /// Makes the chain of a responder; the first middleware is the outermost.
    #[must_use]
    pub const fn for_responder(
        middleware: &'a [Arc<dyn Middleware>],
        responder: &'a dyn Responder,
    ) -> Self {
        // No outer layer enforces the deadline: the caller may have shortened it.
        Self { middleware, terminal: Terminal::Responder(responder), enforced: Some(None) }
    }

    /// Makes the chain of a route. With a `root`, the context that the server made, the server
    /// enforces the deadline.
    pub(crate) fn for_route(
        middleware: &'a [Arc<dyn Middleware>],
        handler: &'a RouteHandler,
        root: Option<&'a Context>,
    ) -> Self {
        let enforced = if root.is_some() { None } else { Some(None) };
        Self { middleware, terminal: Terminal::Route { handler, root }, enforced }
    }

    /// Runs the rest of the call.
    ///
    /// If the context has an earlier deadline than the one given to the middleware, the call ends
    /// at that deadline. This method enforces it on the responder's side, the
    /// [`Attempt`](crate::Attempt) on the requester's.
    ///
    /// # Errors
    ///
    /// Those of the inner middleware and of the terminal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the rest of the call.
    pub fn run<'f>(
        self,
        ctx: &'f Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
    {
        // The requester's own attempt enforces the deadline, and knows whether bytes have left.
        if matches!(self.terminal, Terminal::Requester(_)) {
            return self.run_next(ctx, request);
        }
        let deadline = ctx.deadline();
        let is_enforced = self.enforced.is_none_or(|enforced| enforced == deadline);
        let future = Self { enforced: Some(deadline), ..self }.run_next(ctx, request);
        if is_enforced { future } else { Box::pin(bounded(ctx, future)) }
    }

    #[inline]
    fn run_next<'f>(
        self,
        ctx: &'f Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
    {
        match (self.middleware.split_first(), self.terminal) {
            (Some((first, rest)), _) => {
                first.handle(ctx, request, Next { middleware: rest, ..self })
            }
            (None, Terminal::Requester(requester)) => requester.request(ctx, request),
            (None, Terminal::Responder(responder)) => responder.respond(ctx, request),
            (None, Terminal::Route { handler, root }) => handler.respond(root, ctx, request),
        }
    }
}

/// Runs a future of the chain until it completes or its context ends.
async fn bounded(
    ctx: &Context,
    future: BoxFuture<'_, Result<Response, Error>>,
) -> Result<Response, Error> {
    let outcome = ctx.race(future).await;
    // The handler is dropped by now, and has recorded the delivery of runs elsewhere.
    let known = || ctx.delivery().unwrap_or(Delivery::Unknown);
    outcome.unwrap_or_else(|cause| Err(Error::from_cause(cause, known())))
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("middleware", &self.middleware.len()).finish_non_exhaustive()
    }
}
