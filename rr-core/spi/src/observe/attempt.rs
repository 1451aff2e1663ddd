//! Observation of attempts and calls, on the client side.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::span::within;
use super::{End, Kind, Monitor, Outcome, Span, Start};
use crate::contained::contained;
use crate::context::Context;
use crate::error::{Code, Delivery, Error};
use crate::many::{ManyEnd, ReplySink};
use crate::progress::Progress;
use crate::request::Request;
use crate::response::Response;
use crate::target::Target;

/// Writes the boxed future of a requester: observed if an observer observes operations of this
/// kind, else counted only.
///
/// The request is observed as one [`Kind`](crate::observe::Kind) of operation; its future sees the
/// context that carries the observer's trace context on.
///
/// # Examples
///
/// ```
/// use rr_spi::observe::{Kind, Monitor};
/// use rr_spi::{Context, Error, Request, Requester, Response, boxed, observed};
///
/// struct Counted<R> {
///     inner: R,
///     monitor: Monitor,
/// }
///
/// impl<R: Requester> Requester for Counted<R> {
///     boxed! {
///         fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
///             observed!(&self.monitor, Kind::ClientCall, |ctx, request| {
///                 self.inner.request(ctx, request)
///             })
///         }
///     }
/// }
/// ```
#[macro_export]
macro_rules! observed {
    ($monitor:expr, $kind:expr, |$ctx:ident, $request:ident| $call:expr) => {{
        let monitor: &$crate::observe::Monitor = $monitor;
        if !monitor.observes($kind) {
            ::std::boxed::Box::pin(monitor.counted($ctx, $call))
        } else {
            ::std::boxed::Box::pin(async move {
                let watched =
                    $crate::observe::WatchedAttempt::start(monitor, $kind, $ctx, &$request);
                let own = watched.context();
                let $ctx = own.as_ref().unwrap_or($ctx);
                // The call is made within the watch: what it panics with is reported as well.
                watched.run(async { $call.await }).await
            })
        }
    }};
}

/// Attempt or call that is observed; see [`observed!`](crate::observed!).
pub struct WatchedAttempt<'a> {
    monitor: &'a Monitor,
    kind: Kind,
    ctx: &'a Context,
    target: Target,
    request_bytes: usize,
    began: Instant,
    progress: Option<Progress>,
    span: Option<Box<dyn Span>>,
    replies: Option<ReplySink>,
}

impl<'a> WatchedAttempt<'a> {
    /// Reports the start of an attempt or a call.
    pub fn start(monitor: &'a Monitor, kind: Kind, ctx: &'a Context, request: &Request) -> Self {
        let target = request.target.clone();
        let route = Some(target.as_str());
        let progress = monitor.observers().shows_progress();
        let progress = progress.then(|| Progress::within(ctx.value()));
        let start = Start {
            kind,
            context: ctx,
            target: Some(&target),
            route,
            peer: None,
            progress: progress.as_ref(),
        };
        let span = monitor.started(&start);
        let (request_bytes, began) = (request.body.len(), Instant::now());
        Self { monitor, kind, ctx, target, request_bytes, began, progress, span, replies: None }
    }

    /// Observes a request that may have several replies: the number of replies that were handed out
    /// is its outcome, unless there were none.
    #[must_use]
    pub fn collecting(self, replies: &ReplySink) -> Self {
        Self { replies: Some(replies.clone()), ..self }
    }

    /// Returns the context for the operation if it differs: it carries the trace context of the
    /// span and the progress.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        let traced = traced(self.ctx, self.span.as_deref());
        let Some(progress) = &self.progress else { return traced };
        Some(traced.as_ref().unwrap_or(self.ctx).with_value(progress.clone()))
    }

    /// Runs the operation, and reports its end when it completes or is dropped.
    pub fn run<T: Observed, F>(self, future: F) -> impl Future<Output = Result<T, Error>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        Watched { future, watched: Guard(Some(self)) }
    }

    /// Returns the outcome of a future that completed.
    fn outcome<'o, T: Observed>(&self, outcome: &'o Result<T, Error>) -> Outcome<'o> {
        match outcome {
            // The caller gets the replies that came in time.
            Err(error) if error.code() == Code::DeadlineExceeded => {
                self.replies().unwrap_or(Outcome::Failure(error))
            }
            Err(error) => Outcome::Failure(error),
            Ok(output) => output.outcome(self.replies.as_ref().map_or(0, ReplySink::count)),
        }
    }

    /// Returns the outcome of a request that has several replies, if there were any.
    fn replies<'o>(&self) -> Option<Outcome<'o>> {
        let count = self.replies.as_ref().map_or(0, ReplySink::count);
        (count > 0).then_some(Outcome::Replies(count))
    }

    fn report(mut self, outcome: Outcome<'_>) {
        let Self { kind, ctx: context, ref target, request_bytes, began, .. } = self;
        let route = Some(target.as_str());
        let progress = self.progress.as_ref();
        let start = Start { kind, context, target: Some(target), route, peer: None, progress };
        let end = End { start, outcome, request_bytes, began, entered: None, panic: None };
        self.monitor.ended(self.span.take(), &end);
    }
}

impl std::fmt::Debug for WatchedAttempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedAttempt").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Returns a context with the trace context of a span, if the span has one that fits.
pub(super) fn traced(ctx: &Context, span: Option<&dyn Span>) -> Option<Context> {
    let span = span?;
    let (parent, state) = contained(|| span.trace()).ok()??;
    ctx.with_trace(&parent, state.as_deref()).ok()
}

/// Output of an operation that is observed: a [`Response`], or a [`ManyEnd`].
pub trait Observed: private::Sealed {
    /// Returns the outcome; `replies` were handed out before.
    #[doc(hidden)]
    fn outcome(&self, replies: usize) -> Outcome<'_>;
}

impl Observed for Response {
    fn outcome(&self, _: usize) -> Outcome<'_> {
        Outcome::Success(self)
    }
}

impl Observed for ManyEnd {
    fn outcome(&self, replies: usize) -> Outcome<'_> {
        Outcome::Replies(replies)
    }
}

mod private {
    pub trait Sealed {}

    impl Sealed for crate::response::Response {}
    impl Sealed for crate::many::ManyEnd {}
}

struct Guard<'a>(Option<WatchedAttempt<'a>>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(watched) = self.0.take() {
            // A dropped future proves nothing about a request that was on its way. The receiver of
            // several replies drops the future when enough have come.
            let outcome = watched.replies().unwrap_or(Outcome::Dropped(Delivery::Unknown));
            watched.report(outcome);
        }
    }
}

pin_project! {
    struct Watched<'a, F> {
        // Dropped before the guard reports.
        #[pin]
        future: F,
        watched: Guard<'a>,
    }
}

impl<T: Observed, F: Future<Output = Result<T, Error>>> Future for Watched<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let span = this.watched.0.as_ref().and_then(|watched| watched.span.as_deref());
        let polled = within(span, || this.future.as_mut().poll(cx));
        if let Poll::Ready(outcome) = &polled {
            if let Some(watched) = this.watched.0.take() {
                let outcome = watched.outcome(outcome);
                watched.report(outcome);
            }
        }
        polled
    }
}
