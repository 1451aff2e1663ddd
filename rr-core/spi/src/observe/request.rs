//! Observation of requests, on the server side.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use super::attempt::traced;
use super::{End, Kind, Observers, Outcome, Span, Start};
use crate::context::Context;
use crate::error::Delivery;
use crate::target::Target;

/// Request of a server from its arrival to its outcome, observed if the server has observers; see
/// [`Intake::watch`](crate::Intake::watch).
///
/// It is reported once: by [`WatchedRequest::end`], or as dropped when it is dropped before. Takes
/// one pointer. The default is a request that is not observed.
#[derive(Default)]
pub struct WatchedRequest(Option<Box<Watched>>);

/// Request that is observed.
pub(crate) struct Watched {
    observers: Observers,
    ctx: Context,
    target: Option<Target>,
    route: Option<Arc<str>>,
    request_bytes: AtomicUsize,
    began: Instant,
    entered: OnceLock<Instant>,
    panic: OnceLock<Box<str>>,
    span: Option<Box<dyn Span>>,
    is_reported: bool,
}

impl WatchedRequest {
    pub(crate) fn start(
        observers: &Observers,
        ctx: &Context,
        target: Option<&Target>,
        route: Option<&Arc<str>>,
    ) -> Self {
        let (kind, name) = (Kind::ServerRequest, route.map(|route| &**route));
        let start = Start { kind, context: ctx, target, route: name, peer: ctx.arrived_from() };
        let span = observers.started(&start);
        Self(Some(Box::new(Watched {
            ctx: traced(ctx, span.as_deref()).unwrap_or_else(|| ctx.clone()),
            observers: observers.clone(),
            target: target.cloned(),
            route: route.cloned(),
            request_bytes: AtomicUsize::new(0),
            began: ctx.arrived().unwrap_or_else(Instant::now),
            entered: OnceLock::new(),
            panic: OnceLock::new(),
            span,
            is_reported: false,
        })))
    }

    /// Returns whether there are observers.
    #[must_use]
    #[inline]
    pub fn is_observed(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the context for the handler: `ctx`, with the trace context of the span if there is
    /// one.
    #[must_use]
    #[inline]
    pub fn context<'a>(&'a self, ctx: &'a Context) -> &'a Context {
        self.0.as_ref().map_or(ctx, |watched| &watched.ctx)
    }

    /// Records the length of the request's body, when it has been received.
    ///
    /// [`Handle::watched`](crate::Handle::watched) does it too: only a server that refuses a request
    /// with its body does it by itself.
    pub fn received(&self, request_bytes: usize) {
        if let Some(watched) = &self.0 {
            watched.received(request_bytes);
        }
    }

    /// Reports the outcome that the caller is sent.
    #[inline]
    pub fn end(self, outcome: Outcome<'_>) {
        if let Some(mut watched) = self.0 {
            watched.report(outcome);
        }
    }

    pub(crate) fn watched(&self) -> Option<&Watched> {
        self.0.as_deref()
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
        self.is_reported = true;
        let span = self.span.take();
        let (kind, context) = (Kind::ServerRequest, &self.ctx);
        let (target, route) = (self.target.as_ref(), self.route.as_deref());
        let end = End {
            start: Start { kind, context, target, route, peer: context.arrived_from() },
            outcome,
            request_bytes: self.request_bytes.load(Ordering::Relaxed),
            began: self.began,
            entered: self.entered.get().copied(),
            panic: self.panic.get().map(|message| &**message),
        };
        self.observers.ended(span, &end);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_reported {
            let delivery = self.ctx.delivery().unwrap_or(Delivery::Processed);
            self.report(Outcome::Dropped(delivery));
        }
    }
}

impl fmt::Debug for WatchedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.0.as_ref().and_then(|watched| watched.target.as_ref());
        f.debug_struct("WatchedRequest").field("target", &target).finish_non_exhaustive()
    }
}
