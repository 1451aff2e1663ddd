//! Requests that a server has in flight, and the counts of its drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::error::{Code, Delivery, Error, Reason};

/// Requests that a server has in flight, and the counts of its drain. Contexts hold a reference to
/// this value, so it holds no routes: a stored context does not keep handlers alive.
#[derive(Default)]
pub(crate) struct InFlight {
    /// Admitted requests.
    requests: AtomicUsize,
    /// Shielded futures. They have the same limit as requests, counted separately: a request that
    /// shields its work would otherwise take two places.
    shielded: AtomicUsize,
    /// Whether a shutdown was asked for: the lame duck or the drain has begun.
    announced: AtomicBool,
    draining: AtomicBool,
    /// Whether a drain still admits requests, which a broker routed here and cannot route
    /// elsewhere.
    admits_while_draining: AtomicBool,
    idle: Notify,
    /// Whether `idle` has ever been awaited. Until then, a server that becomes idle after each call
    /// need not check for waiters.
    awaited: AtomicBool,
    completed: AtomicU64,
    aborted: AtomicU64,
    refused: AtomicU64,
}

/// Counts of requests during a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Requests in flight that completed, or whose callers went away.
    pub completed: u64,
    /// Requests that were cancelled when the grace was over.
    pub aborted: u64,
    /// Requests that arrived too late and were refused as `draining`.
    pub refused: u64,
}

impl InFlight {
    pub(crate) fn announce_drain(&self) {
        self.announced.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_drain_announced(&self) -> bool {
        self.announced.load(Ordering::SeqCst) || self.is_draining()
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn admit_while_draining(&self, admits: bool) {
        self.admits_while_draining.store(admits, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.requests() + self.shielded.load(Ordering::SeqCst)
    }

    /// Waits until `count` returns zero.
    pub(crate) async fn until_none(&self, count: impl Fn(&Self) -> usize) {
        // Set before the count is read: `decrement` reads the flag after it has changed the count.
        self.awaited.store(true, Ordering::SeqCst);
        loop {
            let mut notified = std::pin::pin!(self.idle.notified());
            notified.as_mut().enable();
            if count(self) == 0 {
                return;
            }
            notified.await;
        }
    }

    pub(crate) fn report(&self) -> DrainReport {
        DrainReport {
            completed: self.completed.load(Ordering::SeqCst),
            aborted: self.aborted.load(Ordering::SeqCst),
            refused: self.refused.load(Ordering::SeqCst),
        }
    }

    /// While draining, counts a request as aborted if the shutdown ended it, else as completed.
    pub(crate) fn count(&self, is_aborted: bool) {
        if self.is_draining() {
            let counter = if is_aborted { &self.aborted } else { &self.completed };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Decrements a count, and wakes the waiters when it reaches zero.
    fn decrement(&self, count: &AtomicUsize) {
        if count.fetch_sub(1, Ordering::SeqCst) == 1 && self.awaited.load(Ordering::SeqCst) {
            self.idle.notify_waiters();
        }
    }
}

/// In-flight permit of one request. It borrows the counters: with many concurrent calls, cloning
/// the `Arc` would cost as much as the admission itself.
pub(crate) struct InFlightPermit<'a>(&'a InFlight);

impl<'a> InFlightPermit<'a> {
    /// Returns a permit for a request, or the error that refuses it. Never waits.
    pub(crate) fn admit(in_flight: &'a InFlight, most: usize) -> Result<Self, Error> {
        // Counted before the drain is checked: a drain that sees no request in flight has stopped
        // admission.
        let before = in_flight.requests.fetch_add(1, Ordering::SeqCst);
        let permit = Self(in_flight);
        if in_flight.is_draining() && !in_flight.admits_while_draining.load(Ordering::SeqCst) {
            in_flight.refused.fetch_add(1, Ordering::SeqCst);
            let text = "the server is draining";
            return Err(Error::failure(
                Code::Unavailable,
                Delivery::Rejected,
                Reason::DRAINING,
                text,
            ));
        }
        let shielded = in_flight.shielded.load(Ordering::SeqCst);
        if before >= most || shielded >= most {
            let text = format!("{most} requests or shielded futures are in flight already");
            let (code, reason) = (Code::ResourceExhausted, Reason::OVERLOADED);
            return Err(Error::failure(code, Delivery::Rejected, reason, text));
        }
        Ok(permit)
    }
}

impl Drop for InFlightPermit<'_> {
    fn drop(&mut self) {
        self.0.decrement(&self.0.requests);
    }
}

/// In-flight permit of shielded work, which may outlive its request. Dropping the permit removes
/// the work from the count.
pub(crate) struct Shielded(Arc<InFlight>);

impl Shielded {
    pub(crate) fn enter(in_flight: Arc<InFlight>) -> Self {
        in_flight.shielded.fetch_add(1, Ordering::SeqCst);
        Self(in_flight)
    }
}

impl Drop for Shielded {
    fn drop(&mut self) {
        self.0.decrement(&self.0.shielded);
    }
}
