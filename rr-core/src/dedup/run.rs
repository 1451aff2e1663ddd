//! One run of a keyed request: what is recorded of it, however it ends.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use rr_spi::{Context, Dedup, Delivery, Error, rescope_called};
use tokio::runtime::Handle;

use super::flights::Flight;
use super::{Outcome, Settlement, Store, Ticket, announced, lost};

/// How long a store may take to record what became of a run: as long as a connection may take to be
/// made. After that, the claim is one that is never settled.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// One run of a keyed request. Dropping it records that the run was cut off.
pub(super) struct DedupRun<'a> {
    ctx: &'a Context,
    pending: Option<UnsettledRun>,
}

/// What is to be recorded, and who waits for it.
struct UnsettledRun {
    store: Arc<dyn Store>,
    ticket: Ticket,
    flight: Flight,
}

impl<'a> DedupRun<'a> {
    pub(super) fn new(
        ctx: &'a Context,
        store: Arc<dyn Store>,
        ticket: Ticket,
        flight: Flight,
    ) -> Self {
        Self { ctx, pending: Some(UnsettledRun { store, ticket, flight }) }
    }

    /// Records what came out.
    pub(super) fn end(mut self, outcome: &Outcome) {
        // It is the mark that decides: what a middleware further in says may be wrong, and whoever
        // hears it later has no mark of this run.
        let known = self.ctx.delivery();
        // A middleware further in may have called another service, whose words are for no twin.
        let truth =
            |error: Error| rescope_called(error).raised_to(known.unwrap_or(Delivery::NotSent));
        let outcome = outcome.clone().map_err(truth);
        let settlement = match (&outcome, known) {
            (Err(_), Some(delivery)) if delivery.is_unexecuted() => Settlement::NotRun,
            (Err(_), Some(Delivery::Unknown)) => Settlement::Lost,
            _ => Settlement::Kept(outcome.clone()),
        };
        self.settle(settlement, announced(outcome, Dedup::Replayed));
    }

    /// Records it, and then lets the twins answer `outcome`, unless there is nothing to answer.
    fn settle(&mut self, settlement: Settlement, outcome: Outcome) {
        let Some(UnsettledRun { store, ticket, flight }) = self.pending.take() else { return };
        let outcome = Some(outcome).filter(|_| !matches!(settlement, Settlement::NotRun));
        let key = flight.key().clone();
        let mut settling = Box::pin(async move {
            // Where a store fails, its claim is never settled and the key stays taken: there is
            // nobody to tell.
            let _ = store.settle(&key, ticket, settlement).await;
        });
        let mut unheard = TaskContext::from_waker(Waker::noop());
        if settling.as_mut().poll(&mut unheard).is_ready() {
            return flight.end(outcome);
        }
        // The call may be over: the rest goes on by itself, on the server's account. A runtime that
        // is going away takes what waits along.
        if Handle::try_current().is_ok() {
            drop(self.ctx.shield(async move {
                let bounded = Context::background().with_timeout(SETTLE_TIMEOUT);
                let _ = bounded.race(settling).await;
                flight.end(outcome);
            }));
        }
    }
}

impl Drop for DedupRun<'_> {
    fn drop(&mut self) {
        // Cut off: by now the handler and what is around it were dropped, and have said what they
        // know.
        let settlement = match self.ctx.delivery() {
            Some(delivery) if delivery.is_unexecuted() => Settlement::NotRun,
            _ => Settlement::Lost,
        };
        self.settle(settlement, announced(Err(lost()), Dedup::On));
    }
}
