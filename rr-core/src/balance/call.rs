//! A call over several endpoints.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Attempt, AttemptRecord, Context, Error, Request, Requester, Response, RetryDecision};
use tokio::time::Instant;

use super::endpoints::{Chosen, Ejected, Ended, Started};
use super::verdict::{Verdict, avoidance, may_move, may_rescue, verdict};
use super::{Balance, Budget, no_endpoints};

/// Call that failed at an endpoint.
pub(super) struct Failed {
    pub(super) id: u64,
    pub(super) error: Error,
    pub(super) record: AttemptRecord,
}

/// Call in flight at an endpoint. Dropped unfinished, it ends without a conclusion.
struct InFlight<'a> {
    balance: &'a Balance,
    call: Started,
    ended: Ended,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let Balance { config, .. } = self.balance;
        let now = Instant::now();
        let change = self.balance.lock().end_call(&self.call, self.ended, now, config);
        if let Some(change) = change {
            self.balance.report(&change);
        }
    }
}

impl Balance {
    /// Sends a call to an endpoint, and to others while it provably did not run.
    pub(super) async fn balanced(
        &self,
        ctx: &Context,
        request: Request,
    ) -> Result<Response, Error> {
        // All endpoints that the call tries share one deadline.
        let attempt = Attempt::start(ctx, self.config.timeout)?;
        let ctx = attempt.context();
        let first = self.choose(&[], Ejected::LastResort).ok_or_else(no_endpoints)?;
        if let (Budget::Own(budget), 0) = (&self.budget, ctx.retries()) {
            let _ = budget.deposit_at(first.call.at);
        }
        match self.call(first, ctx, request.clone()).await {
            Ok(response) => Ok(response),
            Err(failed) if may_move(&failed.error) => {
                // Boxed: moves are rare, and inline this would enlarge every call.
                Box::pin(self.move_on(ctx, request, failed)).await
            }
            Err(failed) => Err(failed.error),
        }
    }

    /// Tries the other endpoints after one that provably did not run the call.
    async fn move_on(
        &self,
        ctx: &Context,
        request: Request,
        mut failed: Failed,
    ) -> Result<Response, Error> {
        let (mut tried, mut attempts) = (vec![failed.id], Vec::new());
        loop {
            let next = match self.decide(ctx, &failed.error, &tried) {
                Ok(next) => next,
                Err(decision) => {
                    // A sole attempt has no records: a retry layer may send it again immediately.
                    let is_sole = attempts.is_empty() && decision != RetryDecision::BudgetSpent;
                    if !is_sole {
                        record(&mut attempts, &failed, decision);
                    }
                    return Err(match attempts.is_empty() {
                        true => failed.error,
                        false => failed.error.with_attempts(attempts),
                    });
                }
            };
            record(&mut attempts, &failed, RetryDecision::Moved);
            tried.push(next.call.id);
            match self.call(next, ctx, request.clone()).await {
                Ok(response) => return Ok(response),
                Err(next) => failed = next,
            }
        }
    }

    /// Chooses the endpoint to which a failed call moves, or returns why it does not move.
    fn decide(
        &self,
        ctx: &Context,
        error: &Error,
        tried: &[u64],
    ) -> Result<Chosen<Arc<dyn Requester>>, RetryDecision> {
        if ctx.cause().is_some() {
            return Err(RetryDecision::CallEnded);
        }
        if !may_move(error) {
            return Err(RetryDecision::Final);
        }
        let ejected = match may_rescue(error) {
            true => Ejected::LastResort,
            false => Ejected::Unused,
        };
        let next = self.choose(tried, ejected).ok_or(RetryDecision::AttemptsSpent)?;
        let (Budget::Own(budget) | Budget::Shared(budget)) = &self.budget;
        if !budget.withdraw_at(next.call.at) {
            drop(self.in_flight(next.call));
            return Err(RetryDecision::BudgetSpent);
        }
        Ok(next)
    }

    fn choose(&self, tried: &[u64], ejected: Ejected) -> Option<Chosen<Arc<dyn Requester>>> {
        self.lock().choose(tried, ejected, Instant::now(), &*self.entropy, &self.config)
    }

    fn in_flight(&self, call: Started) -> InFlight<'_> {
        let ended = Ended { verdict: Verdict::Neutral, avoided: Duration::ZERO };
        InFlight { balance: self, call, ended }
    }

    /// Sends a call to one endpoint, and records its outcome.
    pub(super) async fn call(
        &self,
        chosen: Chosen<Arc<dyn Requester>>,
        ctx: &Context,
        request: Request,
    ) -> Result<Response, Failed> {
        let Chosen { name, requester, call } = chosen;
        let mut in_flight = self.in_flight(call);
        let error = match requester.request(ctx, request).await {
            Ok(response) => {
                in_flight.ended.verdict = Verdict::Success;
                return Ok(response);
            }
            Err(error) => error,
        };
        in_flight.ended = Ended { verdict: verdict(&error), avoided: avoidance(&error) };
        let (id, took) = (in_flight.call.id, in_flight.call.at.elapsed());
        drop(in_flight);
        let error = with_endpoint(error, &name);
        let record = AttemptRecord::of(&error, took).with_endpoint(name);
        Err(Failed { id, error, record })
    }
}

/// Adds the name of the endpoint to the records of inner layers that have none.
fn with_endpoint(error: Error, name: &Arc<str>) -> Error {
    if error.attempts().is_empty() {
        return error;
    }
    let mut attempts = error.attempts().to_vec();
    for attempt in &mut attempts {
        attempt.endpoint.get_or_insert_with(|| Arc::clone(name));
    }
    error.with_attempts(attempts)
}

/// Records an attempt. If an inner layer made several attempts of it, adds that layer's records.
fn record(attempts: &mut Vec<AttemptRecord>, failed: &Failed, decision: RetryDecision) {
    let inner = failed.error.attempts();
    attempts.extend_from_slice(inner);
    match attempts.last_mut() {
        Some(last) if !inner.is_empty() => last.decision = Some(decision),
        _ => attempts.push(failed.record.clone().with_decision(decision)),
    }
}
