//! One request being handled: the handler, dropped when its time is over, its outcome truthful.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use super::in_flight::InFlightPermit;
use super::{BodyShare, Shared, own, rescope};
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
    #[project = HandleProjection]
    pub struct Handle<'a> {
        shared: &'a Shared,
        ctx: &'a Context,
        #[pin]
        state: State<'a>,
        // Whether errors that come out of the handler are re-scoped here.
        rescopes: bool,
        registered: Option<usize>,
        place: Option<InFlightPermit<'a>>,
        // Bytes of the request: as the transport took them, or as they were taken here.
        share: Option<BodyShare>,
        bytes: usize,
    }

    impl PinnedDrop for Handle<'_> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // A handler whose own drop panics must not take the transport's task along.
            let _ = contained(|| this.state.set(State::Done));
            unregister(this.shared, this.registered);
            if this.place.take().is_some() {
                // Unless the caller went or the time was up, it is the server that gives it up.
                let ended = this.ctx.cause();
                this.shared.in_flight.count(matches!(ended, None | Some(Cause::Shutdown)));
            }
            this.shared.account.put_back(*this.bytes);
        }
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<'a> {
        Waiting { request: Option<Request> },
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
    #[inline]
    pub(super) fn new(shared: &'a Shared, ctx: &'a Context, request: Request) -> Self {
        Self {
            shared,
            ctx,
            state: State::Waiting { request: Some(request) },
            rescopes: false,
            registered: None,
            place: None,
            share: None,
            bytes: 0,
        }
    }

    /// Counts the request's body in a share that the transport has taken for it, or for a part of
    /// it. The share goes back when the handler ends.
    pub fn charged(mut self, share: BodyShare) -> Self {
        self.share = Some(share);
        self
    }
}

impl Future for Handle<'_> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        let mut this = self.project();
        if let StateProjection::Waiting { request } = this.state.as_mut().project() {
            let request = request.take();
            let admitted = request.map(|request| {
                let admitted = admit(this.shared, this.ctx, &request)?;
                *this.bytes = charge(this.shared, this.share, request.body.len())?;
                Ok((admitted, request))
            });
            let started = match admitted {
                Some(Ok(((found, place), mut request))) => {
                    *this.place = Some(place);
                    // A bridge that passed them on would fail; a foreign peer's are of no meaning.
                    request.headers.remove_reply_only();
                    // Without middleware in between, mark and re-scoping need no future.
                    *this.rescopes = found.is_direct();
                    contained(|| found.enter(this.ctx, request))
                }
                Some(Err(error)) => {
                    this.state.set(State::Done);
                    return Poll::Ready(Err(error));
                }
                None => return Poll::Pending,
            };
            match started {
                Ok(future) => {
                    this.state.set(State::Running { race: Race::checked(this.ctx, future) })
                }
                Err(Panicked) => return Poll::Ready(finish(this, Err(Interrupt::Panicked))),
            }
        }
        let StateProjection::Running { race } = this.state.as_mut().project() else {
            return Poll::Pending;
        };
        let outcome = match contained(|| race.poll(cx)) {
            Ok(Poll::Pending) => {
                let (in_flight, ctx) = (&this.shared.in_flight, *this.ctx);
                this.registered.get_or_insert_with(|| in_flight.remember(ctx));
                return Poll::Pending;
            }
            Ok(Poll::Ready(Ok(outcome))) => Ok(outcome),
            Ok(Poll::Ready(Err(cause))) => Err(Interrupt::Ended(cause)),
            Err(Panicked) => Err(Interrupt::Panicked),
        };
        Poll::Ready(finish(this, outcome))
    }
}

/// Looks at everything that is decided before a handler is entered.
fn admit<'a>(
    shared: &'a Shared,
    ctx: &Context,
    request: &Request,
) -> Result<(Found<'a>, InFlightPermit<'a>), Error> {
    if let Some(cause) = ctx.cause() {
        let error = Error::from_cause(cause, Delivery::Rejected);
        return Err(match cause {
            Cause::DeadlineExceeded => error.with_reason(Reason::EXPIRED_ON_ARRIVAL),
            _ => error,
        });
    }
    let limits = shared.config.limits;
    if request.body.len() > limits.request_bytes_max {
        return Err(limits.request_too_large(Delivery::Rejected));
    }
    let found = shared.routes.find(&request.target)?;
    Ok((found, InFlightPermit::admit(&shared.in_flight, shared.config.in_flight_max)?))
}

/// Takes the bytes of a request out of the budget; returns those that no share covers.
fn charge(shared: &Shared, share: &mut Option<BodyShare>, bytes: usize) -> Result<usize, Error> {
    match share {
        Some(share) => share.cover(bytes).map(|()| 0),
        None => shared.account.withdraw(bytes).map(|()| bytes),
    }
}

/// Lets go of the handler, and says what became of it.
fn finish(mut this: HandleProjection<'_, '_>, outcome: Result<Outcome, Interrupt>) -> Outcome {
    // The handler's locals go before its place does: a drain that is over has seen them drop.
    let dropped = contained(|| this.state.set(State::Done));
    let outcome = if dropped.is_ok() { outcome } else { Err(Interrupt::Panicked) };
    unregister(this.shared, this.registered);
    this.shared.in_flight.count(matches!(outcome, Err(Interrupt::Ended(Cause::Shutdown))));
    *this.place = None;
    *this.share = None;
    this.shared.account.put_back(mem::take(this.bytes));
    match outcome.map(|returned| if *this.rescopes { own(returned) } else { returned }) {
        Ok(Ok(response)) => checked(this.shared, response),
        Ok(Err(error)) => Err(sealed(this.shared, this.ctx, error)),
        Err(interrupt) => Err(interrupted(this.shared, this.ctx, &interrupt)),
    }
}

fn unregister(shared: &Shared, registered: &mut Option<usize>) {
    if let Some(key) = registered.take() {
        shared.in_flight.forget(key);
    }
}

fn checked(shared: &Shared, response: Response) -> Outcome {
    let limits = shared.config.limits;
    if response.body.len() > limits.response_bytes_max {
        return Err(limits.response_too_large().with_dedup(response.dedup()));
    }
    Ok(response)
}

/// Returns how far the call got. A context that this server did not make carries no mark of it,
/// and then nothing proves that the handler did not run.
fn mark(shared: &Shared, ctx: &Context) -> Mark {
    if ctx.is_of(&shared.in_flight) { ctx.marked() } else { Mark::Ran }
}

/// Returns the delivery that the mark proves.
fn known(mark: Mark, ctx: &Context) -> Delivery {
    match mark {
        Mark::NotRun => Delivery::Rejected,
        Mark::Passed => ctx.passed().max(Delivery::Rejected),
        Mark::Ran => Delivery::Processed,
    }
}

/// Makes an error say what is known here of the handler.
fn sealed(shared: &Shared, ctx: &Context, error: Error) -> Error {
    let mark = mark(shared, ctx);
    if error.is_called() {
        // A middleware called another service: its error text is not for this caller, and its
        // delivery describes that service's handler, not the one here.
        return rescope(error).with_delivery(known(mark, ctx)).with_dedup(ctx.dedup());
    }
    match mark {
        Mark::NotRun => error.with_delivery(Delivery::Rejected),
        Mark::Passed => {
            // An answer that was received passes verbatim; an error that somebody made after it,
            // or of another run, cannot undo what the worst of the runs did.
            error.raised_to(ctx.passed())
        }
        Mark::Ran => error.with_delivery(Delivery::Processed),
    }
}

fn interrupted(shared: &Shared, ctx: &Context, interrupt: &Interrupt) -> Error {
    let delivery = match mark(shared, ctx) {
        Mark::NotRun => Delivery::Rejected,
        Mark::Passed => Delivery::Unknown.max(ctx.passed()),
        Mark::Ran => Delivery::Processed,
    };
    let error = match interrupt {
        Interrupt::Ended(cause) => Error::from_cause(*cause, delivery),
        Interrupt::Panicked => {
            let text = "the handler failed unexpectedly";
            Error::failure(Code::Internal, delivery, Reason::PANIC, text)
        }
    };
    error.with_dedup(ctx.dedup())
}

/// A panic was contained; its text went to the panic hook and goes nowhere else.
struct Panicked;

/// Runs foreign code; what it panics with is let go of here, whatever that does.
fn contained<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    let discard = |payload: Box<dyn Any + Send>| {
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(again);
        }
        Panicked
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(discard)
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}
