//! What wraps a call, on either side.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::BoxFuture;
use crate::context::{Context, Deadline};
use crate::error::{Delivery, Error};
use crate::request::Request;
use crate::requester::Requester;
use crate::responder::Responder;
use crate::response::Response;
use crate::routes::Found;

/// Wraps a call, on the requester's side or the responder's.
///
/// # Contract
///
/// * `next.run(ctx, request)` goes on; it may be run several times, or not at all.
/// * Whoever runs `next` several times and returns an error returns the worst of their deliveries:
///   one run that may have happened is not undone by another that did not.
/// * An error that a middleware makes itself is an [`Error::failure`] and states its delivery.
///   On the responder's side, what is refused before `next` ran leaves as `Rejected`.
///
/// # For implementors
///
/// Keep decisions in pure functions of `now` and state, and this shell thin.
///
/// # For wrappers
///
/// Pass the context on, or a child of it; never a fresh one.
///
/// # Cancel safety
///
/// Dropping the future drops what `next` runs.
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// Handles one call, going on with `next`.
    ///
    /// # Errors
    ///
    /// Those of `next`, and the middleware's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops what `next` runs.
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error>;
}

/// What stands at the end of a chain of middleware.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Terminal<'a> {
    /// A requester: the chain is on the client's side.
    Requester(&'a dyn Requester),
    /// A responder: the chain is on the server's side.
    Responder(&'a dyn Responder),
    /// A route's responder, which is marked as run when it is entered.
    Route(Found<'a>),
}

impl fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requester(_) => "Terminal::Requester",
            Self::Responder(_) => "Terminal::Responder",
            Self::Route(_) => "Terminal::Route",
        })
    }
}

/// The rest of a call: the middleware further in, and the endpoint.
///
/// It is `Copy`, so that a retry can run it again and a hedge can poll two runs in one future. It
/// borrows, so it cannot be spawned and leaves no orphans.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    middleware: &'a [Arc<dyn Middleware>],
    endpoint: Terminal<'a>,
    /// The deadline that is held further out already; `None` when it is that of any context.
    held: Option<Option<Deadline>>,
}

impl<'a> Next<'a> {
    /// Makes a chain; the first middleware is the outermost.
    #[must_use]
    pub const fn new(middleware: &'a [Arc<dyn Middleware>], endpoint: Terminal<'a>) -> Self {
        let next = Self { middleware, endpoint, held: None };
        // Only the intake races what it runs, and it enters routes.
        if matches!(endpoint, Terminal::Responder(_)) { next.unheld() } else { next }
    }

    /// Notes that nothing further out ends the call at the deadline of the context that it is run
    /// with, so that this chain does.
    pub(crate) const fn unheld(mut self) -> Self {
        self.held = Some(None);
        self
    }

    /// Runs the rest of the call.
    ///
    /// A context with an earlier deadline than the one that the middleware was given ends it then:
    /// on the responder's side here, on the requester's by its [`Attempt`](crate::Attempt).
    ///
    /// # Errors
    ///
    /// Those of the middleware further in and of the endpoint.
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
        // The requester's own attempt holds the deadline, and knows what has left.
        if matches!(self.endpoint, Terminal::Requester(_)) {
            return self.go_on(ctx, request);
        }
        let deadline = ctx.deadline();
        let is_held = self.held.is_none_or(|held| held == deadline);
        let future = Self { held: Some(deadline), ..self }.go_on(ctx, request);
        if is_held { future } else { Box::pin(bounded(ctx, future)) }
    }

    #[inline]
    fn go_on<'f>(self, ctx: &'f Context, request: Request) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
    {
        match (self.middleware.split_first(), self.endpoint) {
            (Some((first, rest)), _) => {
                first.handle(ctx, request, Next { middleware: rest, ..self })
            }
            (None, Terminal::Requester(requester)) => requester.request(ctx, request),
            (None, Terminal::Responder(responder)) => responder.respond(ctx, request),
            (None, Terminal::Route(found)) => found.respond(ctx, request),
        }
    }
}

/// Ends what a middleware runs when the context that it runs with has ended.
async fn bounded(
    ctx: &Context,
    future: BoxFuture<'_, Result<Response, Error>>,
) -> Result<Response, Error> {
    let outcome = ctx.race(future).await;
    // The handler was dropped by now, and what it knew of other runs is recorded.
    let known = || ctx.delivery().unwrap_or(Delivery::Unknown);
    outcome.unwrap_or_else(|cause| Err(Error::from_cause(cause, known())))
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Next({} middleware, {:?})", self.middleware.len(), self.endpoint)
    }
}
