//! Observation of requests, on the server side.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use super::attempt::traced;
use super::{End, Kind, Monitor, Outcome, Span, Start};
use crate::context::Context;
use crate::error::Delivery;
use crate::target::Target;

/// Request of a server from its arrival to its outcome, counted, and observed if the server has
/// observers; see [`Intake::watch`](crate::Intake::watch).
///
/// It is counted and reported once: by [`WatchedRequest::end`], or as dropped when it is dropped
/// before. Takes two pointers. The default stands for a request
/// that no route is asked for, such as a health check.
#[derive(Default)]
pub struct WatchedRequest(State);

#[derive(Default)]
enum State {
    #[default]
    Ended,
    Counted(Monitor),
    Observed(Box<Watched>),
}

/// Request that is observed.
pub(crate) struct Watched {
    monitor: Monitor,
    ctx: Context,
    target: Option<Target>,
    route: Option<Arc<str>>,
    request_bytes: AtomicUsize,
    began: Instant,
    entered: OnceLock<Instant>,
    panic: OnceLock<Box<str>>,
    span: Option<Box<dyn Span>>,
}

impl WatchedRequest {
    pub(crate) fn count(monitor: &Monitor) -> Self {
        monitor.count_start(false);
        Self(State::Counted(monitor.clone()))
    }

    pub(crate) fn start(
        monitor: &Monitor,
        ctx: &Context,
        target: Option<&Target>,
        route: Option<&Arc<str>>,
    ) -> Self {
        let (kind, name) = (Kind::ServerRequest, route.map(|route| &**route));
        let peer = ctx.arrived_from();
        let start = Start { kind, context: ctx, target, route: name, peer, progress: None };
        let span = monitor.started(&start);
        Self(State::Observed(Box::new(Watched {
            ctx: traced(ctx, span.as_deref()).unwrap_or_else(|| ctx.clone()),
            monitor: monitor.clone(),
            target: target.cloned(),
            route: route.cloned(),
            request_bytes: AtomicUsize::new(0),
            began: ctx.arrived().unwrap_or_else(Instant::now),
            entered: OnceLock::new(),
            panic: OnceLock::new(),
            span,
        })))
    }

    /// Returns whether there are observers.
    #[must_use]
    #[inline]
    pub fn is_observed(&self) -> bool {
        self.watched().is_some()
    }

    /// Returns the context for the handler: `ctx`, with the trace context of the span if there is
    /// one.
    #[must_use]
    #[inline]
    pub fn context<'a>(&'a self, ctx: &'a Context) -> &'a Context {
        self.watched().map_or(ctx, |watched| &watched.ctx)
    }

    /// Records the length of the request's body, when it has been received.
    ///
    /// [`Handle::watched`](crate::Handle::watched) does it too: only a server that refuses a request
    /// with its body does it by itself.
    pub fn received(&self, request_bytes: usize) {
        if let Some(watched) = self.watched() {
            watched.received(request_bytes);
        }
    }

    /// Reports the outcome that the caller is sent.
    #[inline]
    pub fn end(mut self, outcome: Outcome<'_>) {
        self.0.end(outcome);
    }

    #[inline]
    pub(crate) fn watched(&self) -> Option<&Watched> {
        match &self.0 {
            State::Observed(watched) => Some(watched),
            State::Ended | State::Counted(_) => None,
        }
    }
}

impl State {
    fn end(&mut self, outcome: Outcome<'_>) {
        match mem::take(self) {
            Self::Ended => {}
            Self::Counted(monitor) => monitor.count_end(outcome),
            Self::Observed(mut watched) => watched.report(outcome),
        }
    }
}

impl Drop for WatchedRequest {
    fn drop(&mut self) {
        let delivery = self.watched().and_then(|watched| watched.ctx.delivery());
        self.0.end(Outcome::Dropped(delivery.unwrap_or(Delivery::Processed)));
    }
}

impl Watched {
    pub(crate) fn received(&self, request_bytes: usize) {
        self.request_bytes.store(request_bytes, Ordering::Relaxed);
    }

    /// Records that the handler is entered.
    pub(crate) fn enter(&self) {
        let _ = self.entered.set(Instant::now());
    }

    /// Records the message of the handler's panic.
    pub(crate) fn panicked(&self, message: Box<str>) {
        let _ = self.panic.set(message);
    }

    pub(crate) fn span(&self) -> Option<&dyn Span> {
        self.span.as_deref()
    }

    fn report(&mut self, outcome: Outcome<'_>) {
        let span = self.span.take();
        let (kind, context) = (Kind::ServerRequest, &self.ctx);
        let (target, route) = (self.target.as_ref(), self.route.as_deref());
        let peer = context.arrived_from();
        let start = Start { kind, context, target, route, peer, progress: None };
        let end = End {
            start,
            outcome,
            request_bytes: self.request_bytes.load(Ordering::Relaxed),
            began: self.began,
            entered: self.entered.get().copied(),
            panic: self.panic.get().map(|message| &**message),
        };
        self.monitor.ended(span, &end);
    }
}

impl fmt::Debug for WatchedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.watched().and_then(|watched| watched.target.as_ref());
        f.debug_struct("WatchedRequest").field("target", &target).finish_non_exhaustive()
    }
}
