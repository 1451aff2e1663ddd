//! In-process calls to routes, under the rules of a wire transport.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context as TaskContext, Poll};

use rr_spi::observe::{Outcome, WatchedRequest};
use rr_spi::{
    Attempt, CancelHandle, Cause, Code, Context, Delivery, Error, Intake, IntakeConfig,
    ManyRequester, Reason, Request, Requester, Response, Routes, async_trait, defaults,
};
use tokio::task::JoinHandle;
use tokio::task::coop::consume_budget;

use crate::nesting;

/// Requester that calls routes in this process, with the rules, limits and defaults of a wire
/// transport and no IO.
///
/// The handler runs within the caller's future. If eight handlers are already nested on the stack,
/// it runs in a task instead, so that a handler may call itself up to the limit of requests in
/// flight. Dropping the call drops the handler.
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::{Context, Error, Local, RequesterExt, Router};
///
/// async fn double(n: u32) -> Result<u32, Error> {
///     Ok(n * 2)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_core::CallError> {
/// let local = Local::new(Router::new().route("math.double", double));
/// let six: u32 = local.call(&Context::background(), "math.double", &3).await?;
/// assert_eq!(six, 6);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Local {
    intake: Intake,
}

impl Local {
    /// Makes a requester for these routes, with the default limits.
    pub fn new(routes: impl Into<Routes>) -> Self {
        Self::with_config(routes, IntakeConfig::default())
    }

    /// Makes a requester for these routes, with the given limits.
    pub fn with_config(routes: impl Into<Routes>, config: IntakeConfig) -> Self {
        Self { intake: Intake::new(routes, config) }
    }

    /// Returns the intake, to drain it or to inspect the requests in flight.
    #[must_use]
    pub fn intake(&self) -> &Intake {
        &self.intake
    }
}

#[async_trait]
impl Requester for Local {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
        self.intake.config().limits.check_outgoing(&request)?;
        // A loop of calls that all complete immediately must still yield to other tasks.
        consume_budget().await;
        let (inner, handle) = self.intake.context(attempt.inbound());
        attempt.sent();
        let watched = self.intake.watch(&inner, Some(&request.target));
        if nesting::is_full() {
            let handling = Handling { intake: self.intake.clone(), inner, watched, request };
            return Box::pin(handle_in_task(&attempt, handling, handle)).await;
        }
        let ended = {
            let handling = self.intake.handle(watched.context(&inner), request).watched(&watched);
            let mut handling = pin!(handling);
            // Declared after the handler and therefore dropped first, so that a dropped handler can
            // read the cause.
            let handle = handle;
            let mut poll =
                |cx: &mut TaskContext<'_>| nesting::within(|| handling.as_mut().poll(cx));
            // Most handlers complete on the first poll and need no timer.
            let ended = match poll_fn(|cx| Poll::Ready(poll(cx))).await {
                // The handler may have computed past the deadline.
                Poll::Ready(outcome) => attempt.check().map(|()| outcome),
                // An error of the handler is not a failure of the attempt.
                Poll::Pending => attempt.run(poll_fn(|cx| poll(cx).map(Ok))).await,
            };
            if ended.is_ok() {
                handle.cancel_with(Cause::Finished);
            }
            ended
        };
        // The caller is told that its deadline has passed, although the handler may have answered.
        watched.end(ended.as_ref().map_or_else(Outcome::Failure, Outcome::of));
        attempt.take_spent(ended?.map_err(Error::into_received))
    }
}

impl ManyRequester for Local {}

/// Request whose handler runs in a task.
struct Handling {
    intake: Intake,
    inner: Context,
    watched: WatchedRequest,
    request: Request,
}

impl Handling {
    async fn run(self) -> Result<Response, Error> {
        let Self { intake, inner, watched, request } = self;
        let outcome = intake.handle(watched.context(&inner), request).watched(&watched).await;
        watched.end(Outcome::of(&outcome));
        outcome
    }
}

/// Runs a handler in a task and thus on a fresh stack; dropping the call still drops the handler.
async fn handle_in_task(
    attempt: &Attempt,
    handling: Handling,
    handle: CancelHandle,
) -> Result<Response, Error> {
    let mut task = Task(tokio::spawn(handling.run()));
    // Dropped before the task, so that the handler can read the cause.
    let handle = handle;
    let outcome = attempt.run(async { Ok((&mut task.0).await) }).await?;
    handle.cancel_with(Cause::Finished);
    let outcome = outcome.unwrap_or_else(|_| {
        let text = "the runtime that the handler ran on ended";
        Err(Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, text))
    });
    attempt.take_spent(outcome.map_err(Error::into_received))
}

/// Task of one call, aborted on drop.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
