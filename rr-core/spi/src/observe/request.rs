//! Observation of requests, on the server side.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use super::attempt::traced;
use super::{End, Kind, Observers, Outcome, Span, Start};
use crate::context::Context;
use crate::error::Delivery;
use crate::target::Target;

/// Request that a server observes, from its arrival to its outcome; see
/// [`Intake::watch`](crate::Intake::watch).
///
/// It is reported once: by [`WatchedRequest::end`], or as dropped when it is dropped before.
pub struct WatchedRequest {
    observers: Observers,
    ctx: Context,
    target: Option<Target>,
    route: Option<Arc<str>>,
    request_bytes: usize,
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
        let (kind, name) = (Kind::Request, route.map(|route| &**route));
        let start = Start { kind, context: ctx, target, route: name, peer: ctx.arrived_from() };
        let span = observers.started(&start);
        Self {
            ctx: traced(ctx, span.as_deref()).unwrap_or_else(|| ctx.clone()),
            observers: observers.clone(),
            target: target.cloned(),
            route: route.cloned(),
            request_bytes: 0,
            began: ctx.arrived().unwrap_or_else(Instant::now),
            entered: OnceLock::new(),
            panic: OnceLock::new(),
            span,
            is_reported: false,
        }
    }

    /// Returns the context for the handler: it carries the trace context of the span.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Records the length of the request's body, when it has been received.
    pub fn received(&mut self, request_bytes: usize) {
        self.request_bytes = request_bytes;
    }

    /// Reports the outcome that the caller is sent.
    pub fn end(mut self, outcome: Outcome<'_>) {
        self.report(outcome);
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
        let (kind, context) = (Kind::Request, &self.ctx);
        let (target, route) = (self.target.as_ref(), self.route.as_deref());
        let end = End {
            start: Start { kind, context, target, route, peer: context.arrived_from() },
            outcome,
            request_bytes: self.request_bytes,
            began: self.began,
            entered: self.entered.get().copied(),
            panic: self.panic.get().map(|message| &**message),
        };
        self.observers.ended(span, &end);
    }
}

impl Drop for WatchedRequest {
    fn drop(&mut self) {
        if !self.is_reported {
            let delivery = self.ctx.delivery().unwrap_or(Delivery::Processed);
            self.report(Outcome::Dropped(delivery));
        }
    }
}

impl fmt::Debug for WatchedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedRequest").field("target", &self.target).finish_non_exhaustive()
    }
}
