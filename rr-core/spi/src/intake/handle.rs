//! One request being handled: the handler, dropped when its time is over, its outcome truthful.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use super::{InFlight, Shared, rescope};
use crate::BoxFuture;
use crate::context::{Cause, Context, Mark, Race};
use crate::error::{Code, Delivery, Error, Reason};
use crate::request::Request;
use crate::response::Response;
use crate::routes::Found;

type Outcome = Result<Response, Error>;

pin_project! {
    /// One request being handled; see [`Intake::handle`](super::Intake::handle).
    ///
    /// Written by hand: as an `async fn` it takes four times the memory per request in flight.
    #[must_use = "futures do nothing unless polled"]
    pub struct Handle<'a> {
        shared: &'a Arc<Shared>,
        ctx: &'a Context,
        #[pin]
        state: State<'a>,
        // Whether errors that come out of the handler are re-scoped here.
        rescopes: bool,
        registered: Option<usize>,
        guard: Option<InFlight>,
    }

    impl PinnedDrop for Handle<'_> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            unregister(this.shared, this.registered);
            // A handler whose own drop panics must not take the transport's task along.
            let _ = catch_unwind(AssertUnwindSafe(|| this.state.set(State::Done)));
        }
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<'a> {
        Refused { error: Option<Error> },
        Running { #[pin] race: Race<'a, BoxFuture<'a, Outcome>> },
        Done,
    }
}

/// Why a handler did not come to its own end.
enum Interrupt {
    Ended(Cause),
    Panicked,
}

impl<'a> Handle<'a> {
    pub(super) fn refuse(shared: &'a Arc<Shared>, ctx: &'a Context, error: Error) -> Self {
        let state = State::Refused { error: Some(error) };
        Self { shared, ctx, state, rescopes: false, registered: None, guard: None }
    }

    pub(super) fn run(
        shared: &'a Arc<Shared>,
        ctx: &'a Context,
        request: Request,
        found: Found<'a>,
        guard: InFlight,
    ) -> Self {
        // Without middleware in between, mark and re-scoping need no future of their own.
        let direct = found.entry.marks && found.entry.middleware.is_empty();
        let start = || {
            if !direct {
                return found.run(ctx, request);
            }
            ctx.mark(Mark::Ran);
            found.entry.responder.respond(ctx, request)
        };
        let state = match catch_unwind(AssertUnwindSafe(start)) {
            Ok(future) => State::Running { race: Race::checked(ctx, future) },
            Err(_) => State::Refused { error: Some(interrupted(ctx, &Interrupt::Panicked)) },
        };
        Self { shared, ctx, state, rescopes: direct, registered: None, guard: Some(guard) }
    }
}

impl Future for Handle<'_> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        let mut this = self.project();
        let race = match this.state.as_mut().project() {
            StateProjection::Running { race } => race,
            StateProjection::Refused { error } => {
                *this.guard = None;
                let done =
                    || Error::failure(Code::Internal, Delivery::Rejected, None, "polled again");
                return Poll::Ready(Err(error.take().unwrap_or_else(done)));
            }
            StateProjection::Done => return Poll::Pending,
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| race.poll(cx))) {
            Ok(Poll::Pending) => {
                let register = || this.shared.pending().insert(this.ctx.clone());
                this.registered.get_or_insert_with(register);
                return Poll::Pending;
            }
            Ok(Poll::Ready(Ok(outcome))) => Ok(outcome),
            Ok(Poll::Ready(Err(cause))) => Err(Interrupt::Ended(cause)),
            Err(_) => Err(Interrupt::Panicked),
        };
        // The handler's locals go before its place does: a drain that is over has seen them drop.
        let dropped = catch_unwind(AssertUnwindSafe(|| this.state.set(State::Done)));
        let outcome = if dropped.is_ok() { outcome } else { Err(Interrupt::Panicked) };
        unregister(this.shared, this.registered);
        this.shared.count(match outcome {
            Err(Interrupt::Ended(cause)) => Some(cause),
            _ => None,
        });
        *this.guard = None;
        Poll::Ready(match outcome {
            Ok(Ok(response)) => checked(this.shared, response),
            Ok(Err(error)) => Err(sealed(this.ctx, error, *this.rescopes)),
            Err(interrupt) => Err(interrupted(this.ctx, &interrupt)),
        })
    }
}

fn unregister(shared: &Shared, registered: &mut Option<usize>) {
    if let Some(key) = registered.take() {
        shared.pending().try_remove(key);
    }
}

fn checked(shared: &Shared, response: Response) -> Outcome {
    let limits = shared.config.limits;
    if response.body.len() > limits.response_bytes_max {
        return Err(limits.response_too_large());
    }
    Ok(response)
}

/// Makes an error say what is known here of the handler.
fn sealed(ctx: &Context, error: Error, rescopes: bool) -> Error {
    match ctx.marked() {
        Mark::NotRun => error.with_delivery(Delivery::Rejected),
        Mark::Passed => error,
        Mark::Ran if rescopes => rescope(error).with_delivery(Delivery::Processed),
        Mark::Ran => error.with_delivery(Delivery::Processed),
    }
}

fn interrupted(ctx: &Context, interrupt: &Interrupt) -> Error {
    let delivery = match ctx.marked() {
        Mark::NotRun => Delivery::Rejected,
        Mark::Passed => Delivery::Unknown,
        Mark::Ran => Delivery::Processed,
    };
    match interrupt {
        Interrupt::Ended(cause) => Error::from_cause(*cause, delivery),
        Interrupt::Panicked => {
            let text = "the handler failed unexpectedly";
            Error::failure(Code::Internal, delivery, Reason::PANIC, text)
        }
    }
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}
