//! The record of one run of the lab's handler.

use std::time::Duration;

use rr_spi::{Bytes, Cause, Context, Headers, Idempotency, Request};
use tokio::time::Instant;

use super::Lab;

/// End of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conformance) enum RunEnd {
    /// The handler returned.
    Finished,
    /// The handler panicked.
    Panicked,
    /// The handler was dropped, with the cause in its context.
    Dropped(Option<Cause>),
}

/// Record of one run of the lab's handler.
#[derive(Clone, Debug)]
pub(in crate::conformance) struct Run {
    pub(in crate::conformance) route: &'static str,
    pub(in crate::conformance) target: String,
    pub(in crate::conformance) headers: Headers,
    pub(in crate::conformance) body: Bytes,
    pub(in crate::conformance) idempotency: Idempotency,
    pub(in crate::conformance) remaining: Option<Duration>,
    pub(in crate::conformance) retries: u32,
    pub(in crate::conformance) request_id: Option<String>,
    pub(in crate::conformance) traceparent: Option<String>,
    pub(in crate::conformance) tracestate: Option<String>,
    pub(in crate::conformance) baggage: Option<String>,
    pub(in crate::conformance) entered_at: Instant,
    pub(in crate::conformance) ended: Option<(Instant, RunEnd)>,
    /// Whether the shielded section completed.
    pub(in crate::conformance) shielded: bool,
    /// The cause for which the context ended, as seen from a shielded section.
    pub(in crate::conformance) watched: Option<Cause>,
}

impl Run {
    pub(super) fn of(route: &'static str, ctx: &Context, request: &Request) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            route,
            target: request.target.as_str().to_owned(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            idempotency: request.idempotency.clone(),
            remaining: ctx.remaining(),
            retries: ctx.inbound_retries(),
            request_id: owned(ctx.request_id()),
            traceparent: owned(ctx.traceparent()),
            tracestate: owned(ctx.tracestate()),
            baggage: owned(ctx.baggage()),
            entered_at: Instant::now(),
            ended: None,
            shielded: false,
            watched: None,
        }
    }

    /// Returns the end of the run; `None` while it is running.
    pub(in crate::conformance) fn end(&self) -> Option<RunEnd> {
        self.ended.map(|(_, end)| end)
    }

    /// Returns whether the handler was dropped before it returned.
    pub(in crate::conformance) fn was_dropped(&self) -> bool {
        matches!(self.end(), Some(RunEnd::Dropped(_)))
    }
}

/// Guard that records the end of a run when dropped.
pub(super) struct RunGuard {
    lab: Lab,
    pub(super) key: String,
    pub(super) at: usize,
    ctx: Context,
    returned: bool,
}

impl RunGuard {
    pub(super) fn new(lab: Lab, key: String, at: usize, ctx: Context) -> Self {
        Self { lab, key, at, ctx, returned: false }
    }

    pub(super) fn mark_returned(mut self) {
        self.returned = true;
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let end = match (self.returned, std::thread::panicking()) {
            (true, _) => RunEnd::Finished,
            (false, true) => RunEnd::Panicked,
            (false, false) => RunEnd::Dropped(self.ctx.cause()),
        };
        self.lab.record_end(&self.key, self.at, end);
    }
}
