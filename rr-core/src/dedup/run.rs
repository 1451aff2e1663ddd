//! Run of a keyed request: records its end, however the run ends.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use rr_spi::{Context, Dedup, Delivery, Error, rescope_called};
use tokio::runtime::Handle;

use super::single_flight::Leader;
use super::{Outcome, Settlement, Store, Ticket, outcome_lost, with_dedup};

/// Longest time for a store to record the end of a run: the same as for establishing a connection.
/// After that, the claim counts as never settled.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Run of a keyed request. Dropping it records that the run was cut off.
pub(super) struct DedupRun<'a> {
    ctx: &'a Context,
    pending: Option<UnsettledRun>,
}

/// Claim to settle, and the leader whose followers wait for it.
struct UnsettledRun {
    store: Arc<dyn Store>,
    ticket: Ticket,
    leader: Leader,
}

impl<'a> DedupRun<'a> {
    pub(super) fn new(
        ctx: &'a Context,
        store: Arc<dyn Store>,
        ticket: Ticket,
        leader: Leader,
    ) -> Self {
        Self { ctx, pending: Some(UnsettledRun { store, ticket, leader }) }
    }

    /// Records the outcome of the run.
    pub(super) fn record(mut self, outcome: &Outcome) {
        // The mark decides: an inner middleware may state a wrong delivery, and later readers of
        // the answer do not have the mark of this run.
        let known = self.ctx.delivery();
        // An inner middleware may have called another service, whose error must not reach a
        // follower as it is.
        let truth =
            |error: Error| rescope_called(error).raised_to(known.unwrap_or(Delivery::NotSent));
        let outcome = outcome.clone().map_err(truth);
        let settlement = match (&outcome, known) {
            (Err(_), Some(delivery)) if delivery.is_unexecuted() => Settlement::NotRun,
            (Err(_), Some(Delivery::Unknown)) => Settlement::Lost,
            _ => Settlement::Kept(outcome.clone()),
        };
        self.settle(settlement, with_dedup(outcome, Dedup::Replayed));
    }

    /// Records the settlement, and then gives the followers `outcome`, unless the handler did not run.
    fn settle(&mut self, settlement: Settlement, outcome: Outcome) {
        let Some(UnsettledRun { store, ticket, leader }) = self.pending.take() else { return };
        let outcome = Some(outcome).filter(|_| !matches!(settlement, Settlement::NotRun));
        let key = leader.key().clone();
        let mut settling = Box::pin(async move {
            // If the store fails, its claim is never settled and the key stays taken. No caller is
            // left to receive the error.
            let _ = store.settle(&key, ticket, settlement).await;
        });
        let mut cx = TaskContext::from_waker(Waker::noop());
        if settling.as_mut().poll(&mut cx).is_ready() {
            return leader.publish(outcome);
        }
        // The call may be over, so settling continues in a task that the server counts. A runtime
        // that is shutting down drops it.
        if Handle::try_current().is_ok() {
            drop(self.ctx.shield(async move {
                let bounded = Context::background().with_timeout(SETTLE_TIMEOUT);
                let _ = bounded.race(settling).await;
                leader.publish(outcome);
            }));
        }
    }
}

impl Drop for DedupRun<'_> {
    fn drop(&mut self) {
        // The run was cut off. The handler and the middleware around it are already dropped and
        // have set the mark.
        let settlement = match self.ctx.delivery() {
            Some(delivery) if delivery.is_unexecuted() => Settlement::NotRun,
            _ => Settlement::Lost,
        };
        self.settle(settlement, with_dedup(Err(outcome_lost()), Dedup::On));
    }
}
