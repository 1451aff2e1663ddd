//! Monitor of one end: counts, which are always kept, and observers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use super::{End, Event, Kind, Observers, Outcome, Span, Start, Stats};
use crate::context::Context;
use crate::error::{Code, Delivery, Error};

/// Monitor of one end, a requester or a server: its counts and its observers.
///
/// Each operation and each event of the end passes through it exactly once. Clones share the counts.
#[derive(Clone, Default)]
pub struct Monitor(Arc<Shared>);

#[derive(Default)]
struct Shared {
    observers: Observers,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    started: AtomicU64,
    succeeded: AtomicU64,
    not_run: AtomicU64,
    retries: AtomicU64,
    late_replies: AtomicU64,
    disconnects: AtomicU64,
    reconnects: AtomicU64,
    handshakes_refused: AtomicU64,
    failed: [AtomicU64; Code::ALL.len()],
}

/// Most readings of the counts while operations end in between.
const READINGS_MAX: usize = 16;

/// Releases: a reader that sees the end of an operation sees its start too.
fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Release);
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Acquire)
}

impl Monitor {
    /// Makes the monitor of an end with these observers.
    #[must_use]
    pub fn new(observers: Observers) -> Self {
        Self(Arc::new(Shared { observers, counts: Counts::default() }))
    }

    /// Returns the observers.
    #[must_use]
    pub fn observers(&self) -> &Observers {
        &self.0.observers
    }

    /// Returns whether an observer observes operations of this kind at the moment.
    #[must_use]
    #[inline]
    pub fn observes(&self, kind: Kind) -> bool {
        self.0.observers.observes(kind)
    }

    /// Counts an event, and reports it.
    pub fn event(&self, event: &Event<'_>) {
        let counts = &self.0.counts;
        match event {
            Event::LateReply => add(&counts.late_replies),
            Event::Disconnected { .. } => add(&counts.disconnects),
            Event::Reconnected { .. } => add(&counts.reconnects),
            Event::HandshakeRefused { .. } => add(&counts.handshakes_refused),
            Event::Retry { .. }
            | Event::RetryRefused { .. }
            | Event::RetryBudget { .. }
            | Event::DrainStarted { .. }
            | Event::DrainEnded { .. }
            | Event::RecordingIncomplete { .. }
            | Event::EndpointEjected { .. }
            | Event::EndpointReturned { .. }
            | Event::EjectedEndpointRemoved { .. }
            | Event::Hedged { .. }
            | Event::HedgeWon { .. }
            | Event::HedgeRefused { .. }
            | Event::Throttled { .. }
            | Event::LimitRefused { .. }
            | Event::LimitReported { .. } => {}
        }
        self.0.observers.event(event);
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = &self.0.counts;
        // Each of these is part of a count that is read later.
        let (not_run, retries) = (read(&counts.not_run), read(&counts.retries));
        let ended = || (read(&counts.succeeded), counts.failed.each_ref().map(read));
        let mut before = ended();
        let mut started = read(&counts.started);
        for _ in 0..READINGS_MAX {
            let after = ended();
            if after == before {
                break;
            }
            // Operations that ended in between would count as in flight.
            before = after;
            started = read(&counts.started);
        }
        let (succeeded, failed_by_code) = before;
        let failed = failed_by_code.iter().sum();
        Stats {
            in_flight: started.saturating_sub(succeeded + failed),
            started,
            succeeded,
            failed,
            failed_by_code,
            not_run,
            retries,
            late_replies: read(&counts.late_replies),
            disconnects: read(&counts.disconnects),
            reconnects: read(&counts.reconnects),
            handshakes_refused: read(&counts.handshakes_refused),
            transport: Vec::new(),
        }
    }

    /// Counts an operation that is not observed: when it is first polled, and when it completes or
    /// is dropped.
    pub fn counted<'a, T, F>(&'a self, ctx: &Context, future: F) -> Counted<'a, F>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let retries = ctx.retries() > 0;
        Counted { future, open: Open { monitor: self, state: State::Waiting { retries } } }
    }

    #[inline]
    pub(super) fn count_start(&self, retries: bool) {
        add(&self.0.counts.started);
        if retries {
            add(&self.0.counts.retries);
        }
    }

    #[inline]
    pub(super) fn count_end(&self, outcome: Outcome<'_>) {
        match outcome.code() {
            None => add(&self.0.counts.succeeded),
            Some(code) => self.count_failure(code, outcome.delivery()),
        }
    }

    #[cold]
    fn count_failure(&self, code: Code, delivery: Delivery) {
        let counts = &self.0.counts;
        let by_code = Code::ALL.iter().zip(&counts.failed);
        by_code.filter(|(of, _)| **of == code).for_each(|(_, count)| add(count));
        if matches!(delivery, Delivery::NotSent | Delivery::Rejected) {
            add(&counts.not_run);
        }
    }

    /// Counts and reports the start of an operation; returns the spans that the observers keep.
    pub(super) fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        self.count_start(start.kind != Kind::ServerRequest && start.context.retries() > 0);
        self.0.observers.started(start)
    }

    /// Counts and reports the end of an operation.
    pub(super) fn ended(&self, span: Option<Box<dyn Span>>, end: &End<'_>) {
        self.count_end(end.outcome);
        self.0.observers.ended(span, end);
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("observers", &self.0.observers)
            .field("stats", &self.stats())
            .finish()
    }
}

pin_project! {
    /// Future of [`Monitor::counted`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Counted<'a, F> {
        // Dropped before the end is counted.
        #[pin]
        future: F,
        open: Open<'a>,
    }
}

struct Open<'a> {
    monitor: &'a Monitor,
    state: State,
}

enum State {
    Waiting { retries: bool },
    Running,
    Ended,
}

impl<T, F: Future<Output = Result<T, Error>>> Future for Counted<'_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let State::Waiting { retries } = this.open.state {
            this.open.monitor.count_start(retries);
            this.open.state = State::Running;
        }
        let polled = this.future.poll(cx);
        if let Poll::Ready(outcome) = &polled {
            this.open.state = State::Ended;
            match outcome {
                Ok(_) => add(&this.open.monitor.0.counts.succeeded),
                Err(error) => this.open.monitor.count_failure(error.code(), error.delivery()),
            }
        }
        polled
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let State::Running = self.state {
            self.monitor.count_failure(Code::Canceled, Delivery::Unknown);
        }
    }
}

impl<F> fmt::Debug for Counted<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}
