//! One request at its handler: entered within the call, in a task of its own once it waits.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use rr_spi::{BoxFuture, Context, Error, Intake, Request, Response};
use tokio::sync::oneshot;

/// What a handler answers, as its caller hears it.
pub(super) type Outcome = Result<Response, Error>;

/// Most handlers that are entered one within another on one stack: a handler that calls itself over
/// memory must not exhaust it, and a debug build takes some 20 KiB for each of a thread's 2 MiB. Those
/// further down start in their own tasks.
const NESTED_MAX: usize = 4;

thread_local! {
    /// How many handlers are being entered on this thread, one within another.
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// What a handler said when it was entered.
pub(super) enum Entered {
    /// It answered at once.
    Answered(Outcome),
    /// It waits, and goes on whatever becomes of the call; the answer comes here, unless its
    /// runtime ends.
    Waiting(oneshot::Receiver<Outcome>),
}

/// A request and its handler, not entered yet.
pub(super) type Handling = BoxFuture<'static, Outcome>;

pub(super) fn handling(intake: Intake, ctx: Context, request: Request) -> Handling {
    Box::pin(async move {
        let outcome = intake.handle(&ctx, request).await;
        outcome.map_err(Error::into_received)
    })
}

/// Enters the handler of a request. Most answer at once, and a task for each of those would cost
/// more than all the rest.
pub(super) async fn enter(mut handling: Handling) -> Entered {
    if let Some(_nesting) = Nesting::begin() {
        // It never waits here: nobody can drop the handler between this poll and its task.
        let first = poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx))).await;
        if let Poll::Ready(outcome) = first {
            return Entered::Answered(outcome);
        }
    }
    let (reply, answered) = oneshot::channel();
    tokio::spawn(async move {
        // Nobody listens any more when the caller has gone.
        let _ = reply.send(handling.await);
    });
    Entered::Waiting(answered)
}

/// A handler being entered; dropping it ends that.
struct Nesting(());

impl Nesting {
    /// Counts one more; `None` when there are too many on this stack.
    fn begin() -> Option<Self> {
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
