//! Future of one request: runs the handler, drops it when the context ends, states the delivery.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use super::pending::PendingKey;
use super::{BodyShare, Shared};
use crate::box_future::BoxFuture;
use crate::contained::{Panicked, contained};
use crate::context::{Cause, Context, Mark, Race};
use crate::error::{Code, Delivery, Error, Reason};
use crate::in_flight::InFlightPermit;
use crate::observe::{Watched, WatchedRequest, within};
use crate::request::Request;
use crate::rescope::{rescope, rescope_outcome};
use crate::response::Response;
use crate::routes::RouteMatch;

type Outcome = Result<Response, Error>;

pin_project! {
    /// Future that handles one request; see [`Intake::handle`](super::Intake::handle).
    ///
    /// It is written by hand: an `async fn` takes four times the memory per request in flight.
    #[must_use = "futures do nothing unless polled"]
    #[project = HandleProjection]
    pub struct Handle<'a> {
        shared: &'a Shared,
        ctx: &'a Context,
        #[pin]
        state: State<'a>,
        // Whether this future re-scopes the handler's errors.
        rescopes: bool,
        registered: Option<PendingKey>,
        permit: Option<InFlightPermit<'a>>,
        // Body bytes of the request: in the transport's share, or charged by this future.
        share: Option<BodyShare>,
        bytes: usize,
        watched: Option<&'a Watched>,
    }

    impl PinnedDrop for Handle<'_> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // A panic in a destructor of the handler must not end the transport's task.
            let _ = contained(|| this.state.set(State::Done));
            unregister(this.shared, this.registered);
            if this.permit.take().is_some() {
                // Counts as aborted, unless the caller went away or the deadline passed.
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

/// Reason why a handler did not complete.
enum Interrupt {
    Ended(Cause),
    Panicked(Panicked),
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
            permit: None,
            share: None,
            bytes: 0,
            watched: None,
        }
    }

    /// Observes the handler: its polls run inside of the observers' span, and the length of its
    /// request and the message of its panic are kept for the report.
    #[inline]
    pub fn watched(mut self, watched: &'a WatchedRequest) -> Self {
        self.watched = watched.watched();
        if let (Some(watched), State::Waiting { request: Some(request) }) =
            (self.watched, &self.state)
        {
            watched.received(request.body.len());
        }
        self
    }

    /// Charges the request's body to a share that the transport holds for all or part of it.
    ///
    /// The share is released when the handler ends.
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
                Some(Ok(((found, permit), mut request))) => {
                    *this.permit = Some(permit);
                    // A bridge that passed these headers on would fail; a foreign peer's have no
                    // meaning.
                    request.headers.remove_reply_only();
                    this.ctx.set_request(&request);
                    // Without middleware in between, mark and re-scoping need no separate future.
                    *this.rescopes = found.is_direct();
                    if let Some(recording) = this.ctx.recording() {
                        recording.enter();
                    }
                    if let Some(watched) = this.watched {
                        watched.enter();
                    }
                    let span = this.watched.and_then(Watched::span);
                    within(span, || contained(|| found.run(this.ctx, request)))
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
                Err(panicked) => {
                    return Poll::Ready(release(this, Err(Interrupt::Panicked(panicked))));
                }
            }
        }
        let span = this.watched.and_then(Watched::span);
        let StateProjection::Running { mut race } = this.state.as_mut().project() else {
            return Poll::Pending;
        };
        let outcome = match within(span, || contained(|| race.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                let (pending, ctx) = (&this.shared.pending, *this.ctx);
                this.registered.get_or_insert_with(|| pending.insert(ctx));
                return Poll::Pending;
            }
            Ok(Poll::Ready(Ok(outcome))) => Ok(outcome),
            Ok(Poll::Ready(Err(cause))) => Err(Interrupt::Ended(cause)),
            Err(panicked) => Err(Interrupt::Panicked(panicked)),
        };
        Poll::Ready(release(this, outcome))
    }
}

/// Runs all checks that precede entering a handler.
fn admit<'a>(
    shared: &'a Shared,
    ctx: &Context,
    request: &Request,
) -> Result<(RouteMatch<'a>, InFlightPermit<'a>), Error> {
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

/// Charges the body of a request to the budget; returns the bytes that no share covers.
fn charge(shared: &Shared, share: &mut Option<BodyShare>, bytes: usize) -> Result<usize, Error> {
    match share {
        Some(share) => share.cover(bytes).map(|()| 0),
        None => shared.account.withdraw(bytes).map(|()| bytes),
    }
}

/// Drops the handler, releases its permit and bytes, and returns the outcome for the caller.
fn release(mut this: HandleProjection<'_, '_>, outcome: Result<Outcome, Interrupt>) -> Outcome {
    // The handler's locals are dropped before its permit, so that no drain ends before they are.
    let dropped = contained(|| this.state.set(State::Done));
    let outcome = match dropped {
        Ok(()) => outcome,
        Err(panicked) => Err(Interrupt::Panicked(panicked)),
    };
    unregister(this.shared, this.registered);
    this.shared.in_flight.count(matches!(outcome, Err(Interrupt::Ended(Cause::Shutdown))));
    *this.permit = None;
    *this.share = None;
    this.shared.account.put_back(mem::take(this.bytes));
    let spent = stated(this.ctx);
    let outcome = match outcome
        .map(|returned| if *this.rescopes { rescope_outcome(returned) } else { returned })
    {
        Ok(Ok(response)) => within_limit(this.shared, response),
        Ok(Err(error)) => Err(with_known_delivery(this.shared, this.ctx, error)),
        Err(Interrupt::Panicked(Panicked(message))) => {
            if let (Some(watched), Some(message)) = (this.watched, message) {
                watched.panicked(message);
            }
            Err(interruption(this.shared, this.ctx, None))
        }
        Err(Interrupt::Ended(cause)) => Err(interruption(this.shared, this.ctx, Some(cause))),
    };
    match spent {
        None => outcome,
        Some(spent) => with_spent(outcome, spent),
    }
}

/// Returns the header with the times of the handler, if the request asked for them.
fn stated(ctx: &Context) -> Option<String> {
    let recording = ctx.recording()?;
    Some(recording.spent(ctx.arrived()?)?.encode())
}

fn with_spent(outcome: Outcome, spent: String) -> Outcome {
    match outcome {
        Ok(mut response) => {
            response.headers.set_spent(spent);
            Ok(response)
        }
        Err(error) => {
            let mut headers = error.headers().clone();
            headers.set_spent(spent);
            Err(error.with_headers(headers))
        }
    }
}

fn unregister(shared: &Shared, registered: &mut Option<PendingKey>) {
    if let Some(key) = registered.take() {
        shared.pending.remove(key);
    }
}

fn within_limit(shared: &Shared, response: Response) -> Outcome {
    let limits = shared.config.limits;
    if response.body.len() > limits.response_bytes_max {
        return Err(limits.response_too_large().with_dedup(response.dedup()));
    }
    Ok(response)
}

/// Returns the progress of the call. A context that this server did not make has no mark of this
/// server; nothing then proves that the handler did not run.
fn mark(shared: &Shared, ctx: &Context) -> Mark {
    if ctx.is_of(&shared.in_flight) { ctx.marked() } else { Mark::Ran }
}

/// Returns the delivery that the mark proves.
fn known(mark: Mark, ctx: &Context) -> Delivery {
    let of_context = ctx.delivery().filter(|_| mark != Mark::Ran);
    of_context.unwrap_or(Delivery::Processed)
}

/// Sets the delivery of an error to what this server knows of the handler.
fn with_known_delivery(shared: &Shared, ctx: &Context, error: Error) -> Error {
    let mark = mark(shared, ctx);
    if error.is_called() {
        // A middleware called another service: the error text is not meant for this caller, and the
        // delivery describes that service's handler instead of this one.
        return rescope(error).with_delivery(known(mark, ctx)).with_dedup(ctx.dedup());
    }
    match mark {
        // A received reply passes unchanged. An error that was made afterwards, or by another run,
        // cannot undo the worst of the runs.
        Mark::Passed => error.raised_to(ctx.passed()),
        _ => error.with_delivery(known(mark, ctx)),
    }
}

/// Makes the error of a handler that its context ended, or that panicked.
fn interruption(shared: &Shared, ctx: &Context, ended: Option<Cause>) -> Error {
    let mark = mark(shared, ctx);
    let least = if mark == Mark::Passed { Delivery::Unknown } else { Delivery::NotSent };
    let delivery = known(mark, ctx).max(least);
    let error = match ended {
        Some(cause) => Error::from_cause(cause, delivery),
        None => {
            let text = "the handler failed unexpectedly";
            Error::failure(Code::Internal, delivery, Reason::PANIC, text)
        }
    };
    error.with_dedup(ctx.dedup())
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}
