//! Server-side state of a request: its progress, and the server that counts it as in flight.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use crate::error::Delivery;
use crate::in_flight::InFlight;
use crate::peer::Peer;
use crate::request_info::RequestInfo;

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

/// Server-side state of a request, in the root node of its context.
pub(crate) struct ServerState {
    mark: AtomicU8,
    /// Worst [`Delivery`] of the runs elsewhere, as its number.
    passed: AtomicU8,
    /// Whether duplicates of the request are suppressed.
    pub(super) deduplicated: AtomicBool,
    pub(super) retries: u32,
    pub(super) arrived: Instant,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) peer: Option<Arc<Peer>>,
    pub(super) in_process: bool,
    /// Set when the handler is entered: the context is made before the body has arrived.
    pub(super) request: OnceLock<RequestInfo>,
}

impl ServerState {
    pub(crate) fn new(
        retries: u32,
        arrived: Instant,
        in_flight: Arc<InFlight>,
        peer: Option<Arc<Peer>>,
    ) -> Self {
        Self {
            mark: AtomicU8::new(Mark::NotRun as u8),
            passed: AtomicU8::new(0),
            deduplicated: AtomicBool::new(false),
            retries,
            arrived,
            in_flight,
            peer,
            in_process: false,
            request: OnceLock::new(),
        }
    }

    /// Records whether the caller is in this process.
    pub(crate) fn with_in_process(self, in_process: bool) -> Self {
        Self { in_process, ..self }
    }

    pub(super) fn raise_mark(&self, mark: Mark) {
        self.mark.fetch_max(mark as u8, Ordering::Relaxed);
    }

    pub(super) fn mark(&self) -> Mark {
        match self.mark.load(Ordering::Relaxed) {
            0 => Mark::NotRun,
            1 => Mark::Passed,
            _ => Mark::Ran,
        }
    }

    /// Records the delivery of a run elsewhere; the worst of all runs stays.
    pub(super) fn raise_passed(&self, delivery: Delivery) {
        self.passed.fetch_max(delivery as u8, Ordering::Relaxed);
    }

    /// Returns the worst delivery of the runs elsewhere.
    pub(super) fn passed(&self) -> Delivery {
        let worst = usize::from(self.passed.load(Ordering::Relaxed));
        DELIVERIES[worst.min(DELIVERIES.len() - 1)]
    }
}

/// Deliveries by their numbers, from provably not run to run.
const DELIVERIES: [Delivery; 4] =
    [Delivery::NotSent, Delivery::Rejected, Delivery::Unknown, Delivery::Processed];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_stand_at_their_own_numbers() {
        for (at, delivery) in DELIVERIES.into_iter().enumerate() {
            assert_eq!(delivery as usize, at);
        }
    }
}
