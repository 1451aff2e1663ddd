//! Progress of a request on its server, and the runs elsewhere that it waits for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Context;
use super::server_state::{Mark, ServerState};
use crate::dedup::Dedup;
use crate::error::{Delivery, Error};
use crate::in_flight::InFlight;
use crate::peer::Peer;
use crate::response::Response;

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
        if let Some(server) = self.ctx.server_state() {
            server.raise_passed(self.delivery);
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
    /// For responders that set the mark themselves ([`Routes::insert_self_marking`]). Has no effect
    /// on a context that no server made.
    ///
    /// [`Routes::insert_self_marking`]: crate::Routes::insert_self_marking
    pub fn mark_ran(&self) {
        if let Some(server) = self.server_state() {
            server.raise_mark(Mark::Ran);
        }
    }

    /// Records that the call waits for a run elsewhere, until the passage is resolved.
    ///
    /// For bridges, and for calls that join a run in progress. A passage that is dropped unresolved
    /// records `Unknown`; of several passages, the worst delivery counts.
    pub fn pass(&self) -> Passage<'_> {
        if let Some(server) = self.server_state() {
            server.raise_mark(Mark::Passed);
        }
        Passage { ctx: self, delivery: Delivery::Unknown }
    }

    /// Records that duplicates of the request are suppressed.
    ///
    /// Errors that the server itself makes, such as for a panic, then report this as well.
    ///
    /// For middleware that suppresses duplicates. Has no effect on a context that no server made.
    pub fn mark_deduplicated(&self) {
        if let Some(server) = self.server_state() {
            server.deduplicated.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the duplicate suppression for errors that the server itself makes.
    pub(crate) fn dedup(&self) -> Option<Dedup> {
        let server = self.server_state()?;
        server.deduplicated.load(Ordering::Relaxed).then_some(Dedup::On)
    }

    /// Returns the progress of the call that this context belongs to.
    #[must_use]
    pub fn marked(&self) -> Mark {
        self.server_state().map_or(Mark::NotRun, ServerState::mark)
    }

    /// Returns the delivery that is known now on the server.
    ///
    /// `Rejected` before the handler is entered, the worst delivery recorded for runs elsewhere,
    /// and `Processed` once the handler was entered. `None` on a context that no server made.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        Some(match self.server_state()?.mark() {
            Mark::NotRun => Delivery::Rejected,
            Mark::Passed => self.passed().max(Delivery::Rejected),
            Mark::Ran => Delivery::Processed,
        })
    }

    /// Returns the instant at which the head of the request arrived; `None` on a context that no
    /// server made.
    pub(crate) fn arrived(&self) -> Option<Instant> {
        self.server_state().map(|server| server.arrived)
    }

    /// Returns the other end of the connection on which the request arrived, also before the
    /// handler is entered.
    pub(crate) fn arrived_from(&self) -> Option<&Peer> {
        self.server_state()?.peer.as_deref()
    }

    /// Returns whether the caller of the request is on this machine: in this process, or at a
    /// [local](Peer::is_local) peer.
    ///
    /// `false` on a context that no server made, and if the caller is not known, as over NATS.
    #[must_use]
    pub fn is_caller_local(&self) -> bool {
        self.server_state().is_some_and(|server| {
            server.in_process || server.peer.as_deref().is_some_and(Peer::is_local)
        })
    }

    /// Returns the number of attempts before the one being handled.
    ///
    /// 0 on the first attempt, and on a context that no server made.
    #[must_use]
    pub fn inbound_retries(&self) -> u32 {
        self.server_state().map_or(0, |server| server.retries)
    }

    /// Returns the worst delivery of the runs elsewhere.
    pub(crate) fn passed(&self) -> Delivery {
        self.server_state().map_or(Delivery::NotSent, ServerState::passed)
    }

    /// Returns whether the server with these requests in flight made the context.
    pub(crate) fn is_of(&self, in_flight: &Arc<InFlight>) -> bool {
        self.server_state().is_some_and(|server| Arc::ptr_eq(&server.in_flight, in_flight))
    }

    /// Returns whether both contexts share one mark.
    pub(crate) fn shares_mark_with(&self, other: &Self) -> bool {
        match (self.server_state(), other.server_state()) {
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
        let (ctx, _handle) = Context::for_inbound(
            end,
            None,
            ServerState::new(0, Instant::now(), Arc::default(), None),
        );
        assert_eq!(ctx.delivery(), Some(Delivery::Rejected));
        ctx.pass().not_run();
        assert_eq!(ctx.child().0.delivery(), Some(Delivery::Rejected));
        drop(ctx.pass());
        assert_eq!(ctx.delivery(), Some(Delivery::Unknown));
        ctx.mark_ran();
        assert_eq!(ctx.delivery(), Some(Delivery::Processed));
    }

    #[test]
    fn a_caller_is_local_in_this_process_and_at_a_local_peer_only() {
        let is_local = |peer: Option<Peer>, in_process| {
            let server = ServerState::new(0, Instant::now(), Arc::default(), peer.map(Arc::new));
            let server = server.with_in_process(in_process);
            let end = crate::Deadline::after(std::time::Duration::MAX);
            let (ctx, _handle) = Context::for_inbound(end, None, server);
            ctx.child().0.is_caller_local()
        };
        assert!(is_local(None, true) && is_local(Some(Peer::new().as_local()), false));
        assert!(!is_local(None, false) && !is_local(Some(Peer::new()), false));
        assert!(!Context::background().is_caller_local());
    }
}
