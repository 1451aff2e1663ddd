//! Runs the handler of one request: polled within the call first, in a separate task once pending.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use rr_spi::{BoxFuture, Bytes, Code, Context, Error, Intake, Request, Response, observe};
use tokio::sync::oneshot;

/// Outcome of a handler, with its error converted to the caller's view.
pub(super) type Outcome = Result<Response, Error>;

/// Maximum number of handlers nested on one stack. Deeper handlers start in their own tasks.
///
/// A handler that calls itself over memory must not exhaust the stack. In a debug build each level
/// takes about 20 KiB of a thread's 2 MiB.
const NESTED_MAX: usize = 4;

thread_local! {
    /// Number of nested handlers being entered on this thread.
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// Result of entering a handler.
pub(super) enum Entered {
    /// The handler completed on its first poll.
    Answered(Outcome),
    /// The handler runs in a task that outlives the call. The channel delivers the outcome, or
    /// closes if the runtime shuts down.
    Waiting(oneshot::Receiver<Outcome>),
}

/// Future that runs the handler of one request; not polled yet.
pub(super) type Handling = BoxFuture<'static, Outcome>;

/// Makes the future that runs the handler of one request. The context holds the head of the
/// request: capturing the whole request would store the head twice.
pub(super) fn handler_future(intake: Intake, ctx: Context, body: Bytes) -> Handling {
    if !intake.monitor().observers().is_empty() {
        // A separate type: without observers the future takes no memory for them.
        return observed(intake, ctx, body);
    }
    Box::pin(async move {
        let handled = intake.handle(&ctx, to_request(&ctx, body)?);
        intake.monitor().counted(&ctx, handled).await.map_err(Error::into_received)
    })
}

fn observed(intake: Intake, ctx: Context, body: Bytes) -> Handling {
    let watched = intake.watch(&ctx, ctx.request().target());
    Box::pin(async move {
        let outcome = match to_request(&ctx, body) {
            Ok(request) => intake.handle(watched.context(&ctx), request).watched(&watched).await,
            Err(error) => Err(error),
        };
        watched.end(observe::Outcome::of(&outcome));
        outcome.map_err(Error::into_received)
    })
}

fn to_request(ctx: &Context, body: Bytes) -> Result<Request, Error> {
    let request = ctx.request().to_request(body);
    request.ok_or_else(|| Error::new(Code::Internal, "the request has no head"))
}

/// Enters the handler of a request: polls it once in place, then spawns it if it is pending.
///
/// Most handlers complete on the first poll. A task for each of them would cost more than the rest
/// of the call.
pub(super) async fn enter(mut handling: Handling) -> Entered {
    if let Some(_nesting) = Nesting::enter() {
        // This await completes immediately, so the call cannot be dropped between the first poll
        // and the spawn.
        let first = poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx))).await;
        if let Poll::Ready(outcome) = first {
            return Entered::Answered(outcome);
        }
    }
    let (reply, answered) = oneshot::channel();
    tokio::spawn(async move {
        // Sending fails when the call was dropped.
        let _ = reply.send(handling.await);
    });
    Entered::Waiting(answered)
}

/// Guard of one nesting level. Dropping it leaves the level.
struct Nesting(());

impl Nesting {
    /// Enters one more level; `None` when [`NESTED_MAX`] levels are on this stack.
    fn enter() -> Option<Self> {
        let nested = NESTED.get();
        (nested < NESTED_MAX).then(|| {
            NESTED.set(nested + 1);
            Self(())
        })
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}
