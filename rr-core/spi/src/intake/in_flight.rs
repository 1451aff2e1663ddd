//! What a server has in flight, and what became of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;
use tokio::sync::Notify;

use crate::context::{Cause, Context};
use crate::error::{Code, Delivery, Error, Reason};
use crate::server::DrainReport;

/// What a server has in flight, and what became of it. Contexts hold on to it, and so it holds
/// no routes: a context that is kept does not keep handlers alive.
#[derive(Default)]
pub(crate) struct InFlight {
    /// Requests that were admitted.
    requests: AtomicUsize,
    /// Shielded work, which takes no request's place.
    shielded: AtomicUsize,
    draining: AtomicBool,
    /// Whether a drain still admits: what a broker has routed here can go nowhere else.
    lingering: AtomicBool,
    idle: Notify,
    /// Whether anybody has ever waited on `idle`: until then a server that falls idle after each
    /// call need not look for waiters.
    awaited: AtomicBool,
    pending: Mutex<PendingRequests>,
    completed: AtomicU64,
    aborted: AtomicU64,
    refused: AtomicU64,
}

/// Requests that have been pending, so that they can be cancelled all at once.
#[derive(Default)]
struct PendingRequests {
    contexts: Slab<Context>,
    /// Set when all were cancelled: whoever becomes pending later is cancelled too.
    ended: Option<Cause>,
}

impl InFlight {
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(super) fn linger(&self, lingering: bool) {
        self.lingering.store(lingering, Ordering::SeqCst);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.requests() + self.shielded.load(Ordering::SeqCst)
    }

    /// Waits until what is counted comes to nothing.
    pub(super) async fn until_none(&self, count: impl Fn(&Self) -> usize) {
        // Before the count is read, as whoever leaves reads it after the count has changed.
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

    pub(super) fn report(&self) -> DrainReport {
        DrainReport {
            completed: self.completed.load(Ordering::SeqCst),
            aborted: self.aborted.load(Ordering::SeqCst),
            refused: self.refused.load(Ordering::SeqCst),
        }
    }

    /// Notes that a request waits; the key is for [`InFlight::forget`].
    pub(super) fn remember(&self, ctx: &Context) -> usize {
        let (key, ended) = self.with_pending(|p| (p.contexts.insert(ctx.clone()), p.ended));
        // Outside of the lock: cancelling wakes the waiter that the request has just registered.
        if let Some(cause) = ended {
            ctx.cancel_own_scope(cause);
        }
        key
    }

    pub(super) fn forget(&self, key: usize) {
        let forgotten = self.with_pending(|pending| pending.contexts.try_remove(key));
        drop(forgotten);
    }

    pub(super) fn cancel_all(&self, cause: Cause) {
        let contexts: Vec<Context> = self.with_pending(|pending| {
            pending.ended = Some(cause);
            pending.contexts.iter().map(|(_, ctx)| ctx.clone()).collect()
        });
        for ctx in contexts {
            ctx.cancel_own_scope(cause);
        }
    }

    /// Counts, while draining, what became of a request that was in flight: only what the
    /// shutdown ended is aborted, whatever else ended it.
    pub(super) fn count(&self, is_aborted: bool) {
        if self.is_draining() {
            let counter = if is_aborted { &self.aborted } else { &self.completed };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes one off a count.
    fn leave(&self, count: &AtomicUsize) {
        if count.fetch_sub(1, Ordering::SeqCst) == 1 && self.awaited.load(Ordering::SeqCst) {
            self.idle.notify_waiters();
        }
    }

    fn with_pending<T>(&self, change: impl FnOnce(&mut PendingRequests) -> T) -> T {
        // A panic cannot leave the slab half-changed: nothing foreign runs under the lock.
        change(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request in flight; dropping it stops counting it. It borrows the counter, since counting one
/// more owner of it would cost as much as the admission itself where many calls go at a time.
pub(super) struct InFlightPermit<'a>(&'a InFlight);

impl<'a> InFlightPermit<'a> {
    /// Takes a place for a request, or says why there is none. Never waits.
    pub(super) fn admit(in_flight: &'a InFlight, most: usize) -> Result<Self, Error> {
        // Counted before the drain is looked at: a drain that sees nobody in flight has really
        // stopped admission.
        let before = in_flight.requests.fetch_add(1, Ordering::SeqCst);
        let place = Self(in_flight);
        if in_flight.is_draining() && !in_flight.lingering.load(Ordering::SeqCst) {
            in_flight.refused.fetch_add(1, Ordering::SeqCst);
            let text = "the server is draining";
            return Err(Error::failure(
                Code::Unavailable,
                Delivery::Rejected,
                Reason::DRAINING,
                text,
            ));
        }
        if before >= most {
            let text = format!("{most} requests are in flight already");
            let (code, reason) = (Code::ResourceExhausted, Reason::OVERLOADED);
            return Err(Error::failure(code, Delivery::Rejected, reason, text));
        }
        Ok(place)
    }
}

impl Drop for InFlightPermit<'_> {
    fn drop(&mut self) {
        self.0.leave(&self.0.requests);
    }
}

/// Work that belongs to a request which was admitted, and outlives it; dropping it takes it off the
/// count.
pub(crate) struct Shielded(Arc<InFlight>);

impl Shielded {
    pub(crate) fn enter(in_flight: Arc<InFlight>) -> Self {
        in_flight.shielded.fetch_add(1, Ordering::SeqCst);
        Self(in_flight)
    }
}

impl Drop for Shielded {
    fn drop(&mut self) {
        self.0.leave(&self.0.shielded);
    }
}
