//! Server-side state of a request: its progress, and the server that counts it as in flight.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::Context;
use crate::error::{Delivery, Error};
use crate::idempotency::Dedup;
use crate::intake::InFlight;
use crate::response::Response;

/// Progress of a call on the server. It never decreases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Mark {
    /// The handler has not been entered: every error is `Rejected`.
    NotRun = 0,
    /// The call waits for a run elsewhere: an interrupted call is `Unknown`, and a reply of that
    /// run passes unchanged.
    Passed = 1,
    /// The handler was entered: every error is `Processed`.
    Ran = 2,
}

/// Server-side state of an inbound context.
pub(crate) struct InboundState {
    mark: AtomicU8,
    /// Worst [`Delivery`] of the runs elsewhere, as its number.
    passed: AtomicU8,
    /// Whether duplicates of the request are suppressed.
    deduplicated: AtomicBool,
    retries: u32,
    pub(super) in_flight: Arc<InFlight>,
}

impl InboundState {
    pub(super) fn new(retries: u32, in_flight: Arc<InFlight>) -> Self {
        let (mark, passed) = (AtomicU8::new(Mark::NotRun as u8), AtomicU8::new(0));
        Self { mark, passed, deduplicated: AtomicBool::new(false), retries, in_flight }
    }

    fn raise(&self, mark: Mark) {
        self.mark.fetch_max(mark as u8, Ordering::Relaxed);
    }

    fn mark(&self) -> Mark {
        match self.mark.load(Ordering::Relaxed) {
            0 => Mark::NotRun,
            1 => Mark::Passed,
            _ => Mark::Ran,
        }
    }
}

/// Deliveries by their numbers, from provably not run to run.
const DELIVERIES: [Delivery; 4] =
    [Delivery::NotSent, Delivery::Rejected, Delivery::Unknown, Delivery::Processed];

/// Run elsewhere that a call waits for; see [`Context::pass`].
#[must_use = "dropping it says that nothing is known of the run"]
pub struct Passage<'a> {
    ctx: &'a Context,
    delivery: Delivery,
}

impl Passage<'_> {
    /// Records the outcome of the run: errors of this call then have at least its delivery.
    ///
    /// Returns the outcome as the reply of this call. Its error passes unchanged, whereas the error
    /// of any other call is re-scoped.
    ///
    /// # Errors
    ///
    /// That of the outcome, with its code and delivery.
    pub fn resolve(mut self, outcome: Result<Response, Error>) -> Result<Response, Error> {
        self.delivery = outcome.as_ref().map_or_else(Error::delivery, |_| Delivery::Processed);
        outcome.map_err(Error::passed_on)
    }

    /// Records that the run did not happen.
    pub fn not_run(mut self) {
        self.delivery = Delivery::Rejected;
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if let Some(inbound) = self.ctx.inbound() {
            inbound.passed.fetch_max(self.delivery as u8, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Passage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passage").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

impl Context {
    /// Records that the handler has been entered: from then on every error is `Processed`.
    ///
    /// For wrappers that are routed unmarked. Has no effect on a context that no server made.
    pub fn mark_ran(&self) {
        if let Some(inbound) = self.inbound() {
            inbound.raise(Mark::Ran);
        }
    }

    /// Records that the call waits for a run elsewhere, until the passage is resolved.
    ///
    /// For bridges, and for calls that join a run in progress. A passage that is dropped unresolved
    /// records `Unknown`; of several passages, the worst delivery counts.
    pub fn pass(&self) -> Passage<'_> {
        if let Some(inbound) = self.inbound() {
            inbound.raise(Mark::Passed);
        }
        Passage { ctx: self, delivery: Delivery::Unknown }
    }

    /// Records that duplicates of the request are suppressed.
    ///
    /// Errors that the server itself makes, such as that of a panic, then carry this too.
    ///
    /// For middleware that suppresses duplicates. Has no effect on a context that no server made.
    pub fn mark_deduplicated(&self) {
        if let Some(inbound) = self.inbound() {
            inbound.deduplicated.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the duplicate suppression for errors that the server itself makes.
    pub(crate) fn dedup(&self) -> Option<Dedup> {
        let inbound = self.inbound()?;
        inbound.deduplicated.load(Ordering::Relaxed).then_some(Dedup::On)
    }

    /// Returns the progress of the call that this context belongs to.
    #[must_use]
    pub fn marked(&self) -> Mark {
        self.inbound().map_or(Mark::NotRun, InboundState::mark)
    }

    /// Returns the delivery that is known now on the server.
    ///
    /// `Rejected` before the handler is entered, the worst delivery recorded for runs elsewhere,
    /// and `Processed` once the handler was entered. `None` on a context that no server made.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        Some(match self.inbound()?.mark() {
            Mark::NotRun => Delivery::Rejected,
            Mark::Passed => self.passed().max(Delivery::Rejected),
            Mark::Ran => Delivery::Processed,
        })
    }

    /// Returns the number of attempts before the one being handled.
    ///
    /// 0 on the first attempt, and on a context that no server made.
    #[must_use]
    pub fn inbound_retries(&self) -> u32 {
        self.inbound().map_or(0, |inbound| inbound.retries)
    }

    /// Returns the worst delivery of the runs elsewhere.
    pub(crate) fn passed(&self) -> Delivery {
        let worst = self.inbound().map_or(0, |inbound| inbound.passed.load(Ordering::Relaxed));
        DELIVERIES[usize::from(worst).min(DELIVERIES.len() - 1)]
    }

    /// Returns whether the server with these requests in flight made the context.
    pub(crate) fn is_of(&self, in_flight: &Arc<InFlight>) -> bool {
        self.inbound().is_some_and(|inbound| Arc::ptr_eq(&inbound.in_flight, in_flight))
    }

    /// Returns whether both contexts share one mark.
    pub(crate) fn shares_mark_with(&self, other: &Self) -> bool {
        match (self.inbound(), other.inbound()) {
            (Some(own), Some(others)) => std::ptr::eq(own, others),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_the_handler_goes_from_the_mark_over_the_runs_elsewhere() {
        assert_eq!(Context::background().delivery(), None);
        let end = crate::Deadline::after(std::time::Duration::MAX);
        let (ctx, _handle) = Context::for_inbound(end, 0, None, Arc::default());
        assert_eq!(ctx.delivery(), Some(Delivery::Rejected));
        ctx.pass().not_run();
        assert_eq!(ctx.child().0.delivery(), Some(Delivery::Rejected));
        drop(ctx.pass());
        assert_eq!(ctx.delivery(), Some(Delivery::Unknown));
        ctx.mark_ran();
        assert_eq!(ctx.delivery(), Some(Delivery::Processed));
    }

    #[test]
    fn deliveries_stand_at_their_own_numbers() {
        for (at, delivery) in DELIVERIES.into_iter().enumerate() {
            assert_eq!(delivery as usize, at);
        }
    }
}
