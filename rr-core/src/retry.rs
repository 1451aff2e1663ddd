//! Retries of failed calls, where that is safe and worthwhile.

mod backoff;
mod budget;
mod config;
mod decide;
mod dedup_targets;
pub(crate) mod latencies;
mod latency;

use std::fmt;
use std::time::Duration;

use rr_spi::observe::{Event, Observers};
use rr_spi::{
    Attempt, Cause, Context, Entropy, Error, Idempotency, Middleware, Next, OsEntropy, Request,
    Response, async_trait, defaults,
};
use tokio::time::{Instant, sleep};

use decide::{Failure, Progress, Repeatable, Timer};
use dedup_targets::DedupTargets;
use latencies::Latencies;

pub use budget::{RetryBudget, RetryBudgetConfig};
pub use config::RetryConfig;
pub use rr_spi::{AttemptRecord, RetryDecision, RetryHint};

/// Middleware for requesters that retries failed calls where that is safe and worthwhile.
///
/// Safety depends on the error's [`Delivery`](rr_spi::Delivery) and the request's [`Idempotency`].
/// A request that provably did not run may always be retried. A request that may have run is
/// retried only if it is [`Safe`](Idempotency::Safe), [`Idempotent`](Idempotency::Idempotent), or
/// [`Keyed`](Idempotency::Keyed) and the destination is known to deduplicate. Whether a retry is
/// worthwhile depends on the time left, on the latency of calls to the same target, on the peer's
/// retry hint, and on a [`RetryBudget`] that all calls to the destination share.
///
/// A first attempt that provably did not run is sent again immediately, once. All attempts share
/// the deadline of the call, and each reports to the peer how many preceded it. Only one layer
/// retries: a call is attempted once if it serves an inbound request that is a retry, or if an
/// outer retry layer is retrying it.
///
/// # Errors
///
/// The error of the last attempt, with a record of each attempt ([`Error::attempts`], and
/// [`Error::report`] for people to read). Its delivery is the worst of all attempts. A call that
/// is cancelled while it waits for the next attempt fails with `Canceled`.
///
/// # Examples
///
/// ```
/// use rr_core::{Requester, Stack};
/// use rr_core::retry::{Retry, RetryConfig};
///
/// fn retried(client: impl Requester) -> impl Requester {
///     let config = RetryConfig::default().with_attempts_max(4);
///     Stack::new(client).with(Retry::with_config(config))
/// }
/// ```
pub struct Retry {
    config: RetryConfig,
    budget: RetryBudget,
    latencies: Latencies,
    deduplicating: DedupTargets,
    entropy: Box<dyn Entropy>,
    observers: Observers,
}

impl Retry {
    /// Makes a retry layer with the default configuration and a separate budget.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(RetryConfig::default())
    }

    /// Makes a retry layer with the given configuration and a separate budget.
    #[must_use]
    pub fn with_config(config: RetryConfig) -> Self {
        Self {
            budget: RetryBudget::with_config(&config.budget),
            config,
            latencies: Latencies::default(),
            deduplicating: DedupTargets::default(),
            entropy: Box::new(OsEntropy::new()),
            observers: Observers::default(),
        }
    }

    /// Replaces the configured budget by a shared one.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Replaces the entropy source of the pauses; a seeded source makes a run reproducible.
    #[must_use]
    pub fn with_entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// Replaces the observers; none by default. They are told of each attempt that is followed by
    /// another ([`Event::Retry`], with the decision, before the pause), or is not because the budget
    /// is spent ([`Event::RetryRefused`]), and of what is left ([`Event::RetryBudget`]).
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Returns the budget, to share it or to read its balance.
    #[must_use]
    pub fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// Returns whether a request may run twice.
    fn repeatable(&self, request: &Request) -> Repeatable {
        let twice = match request.idempotency {
            Idempotency::Safe | Idempotency::Idempotent => true,
            Idempotency::Keyed(_) => {
                self.config.deduplicates || self.deduplicating.contains(&request.target)
            }
            _ => false,
        };
        if twice { Repeatable::Yes } else { Repeatable::No }
    }

    /// Returns the context of an attempt with a separate timeout; `None` if the call's context
    /// applies.
    fn timed(&self, ctx: &Context, request: &Request) -> Option<Context> {
        let has_timer = !self.config.attempt_timeout.is_zero();
        (has_timer && self.repeatable(request) == Repeatable::Yes)
            .then(|| ctx.with_timeout(self.config.attempt_timeout))
    }

    /// Returns the most attempts that a call with this context may make.
    fn attempts_max(&self, ctx: &Context) -> u32 {
        let is_nested = ctx.retries() > 0 || ctx.inbound_retries() > 0;
        if is_nested { 1 } else { self.config.attempts() }
    }

    fn succeeded(&self, started: Instant, request: &Request, response: &Response) {
        let now = Instant::now();
        self.latencies.record(&request.target, now, now.duration_since(started));
        self.deduplicating.record(request, Ok(response));
    }
}

#[async_trait]
impl Middleware for Retry {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let started = Instant::now();
        if ctx.retries() == 0 {
            // A retry by an outer layer is not a new call and makes no deposit.
            if let Some(left) = self.budget.deposit_at(started) {
                self.observers.event(&Event::retry_budget(&request.target, left));
            }
        }
        let timed = self.timed(ctx, &request);
        let outcome = next.run(timed.as_ref().unwrap_or(ctx), request.clone()).await;
        let error = match outcome {
            Ok(response) => {
                self.succeeded(started, &request, &response);
                return Ok(response);
            }
            Err(error) => error,
        };
        let call = RetryLoop {
            retry: self,
            ctx,
            request: &request,
            next,
            progress: Progress::new(self.attempts_max(ctx), ctx.retries()),
            attempts: Vec::new(),
        };
        // Boxed separately, so that a call that succeeds at first does not pay for its size.
        Box::pin(call.run(started, timed, error)).await
    }
}

/// State of a call whose first attempt has failed.
struct RetryLoop<'a> {
    retry: &'a Retry,
    ctx: &'a Context,
    request: &'a Request,
    next: Next<'a>,
    progress: Progress,
    attempts: Vec<AttemptRecord>,
}

impl RetryLoop<'_> {
    /// Makes further attempts until one succeeds or no retry is due.
    async fn run(
        mut self,
        mut started: Instant,
        mut timed: Option<Context>,
        mut error: Error,
    ) -> Result<Response, Error> {
        loop {
            let decision = self.decide(started, timed.as_ref(), &error);
            if !decision.is_retry() {
                return Err(error.with_attempts(self.attempts));
            }
            if let RetryDecision::Again(pause) = decision {
                if let Err(cause) = self.ctx.race(sleep(pause)).await {
                    return Err(self.ended(cause, error));
                }
            }
            let ctx =
                self.ctx.with_retries(self.ctx.retries().saturating_add(self.progress.retries()));
            started = Instant::now();
            timed = self.retry.timed(&ctx, self.request);
            let attempt = timed.as_ref().unwrap_or(&ctx);
            match self.next.run(attempt, self.request.clone()).await {
                Ok(response) => {
                    self.retry.succeeded(started, self.request, &response);
                    return Ok(response);
                }
                Err(failed) => error = failed,
            }
        }
    }

    /// Decides what follows a failure and records the attempt.
    fn decide(
        &mut self,
        started: Instant,
        timed: Option<&Context>,
        error: &Error,
    ) -> RetryDecision {
        let (retry, now) = (self.retry, Instant::now());
        retry.deduplicating.record(self.request, Err(error));
        let failure = Failure {
            error,
            now,
            deadline: self.ctx.deadline().map(rr_spi::Deadline::instant),
            typical: retry.latencies.median(&self.request.target, now).unwrap_or_default(),
            repeatable: retry.repeatable(self.request),
            timer: timer(self.ctx, timed),
        };
        let mut decision = self.progress.decide(&retry.config, &failure, &*retry.entropy);
        if decision.is_retry() && !retry.budget.withdraw_at(now) {
            decision = RetryDecision::BudgetSpent;
        }
        self.record(error, now.duration_since(started), decision);
        self.report(decision);
        decision
    }

    /// Reports a retry, or that the budget refused it.
    fn report(&self, decision: RetryDecision) {
        let (observers, target) = (&self.retry.observers, &self.request.target);
        let Some(failed) = self.attempts.last().filter(|_| !observers.is_empty()) else { return };
        let event = match decision {
            RetryDecision::BudgetSpent => Event::retry_refused(self.ctx, target, failed),
            _ if decision.is_retry() => Event::retry(self.ctx, target, failed),
            _ => return,
        };
        observers.event(&event);
        observers.event(&Event::retry_budget(target, self.retry.budget.balance()));
    }

    /// Records an attempt. If an inner layer made several attempts of it, adds that layer's
    /// records.
    fn record(&mut self, error: &Error, elapsed: Duration, decision: RetryDecision) {
        self.attempts.extend_from_slice(error.attempts());
        match self.attempts.last_mut() {
            Some(last) if !error.attempts().is_empty() => last.decision = Some(decision),
            _ => self.attempts.push(AttemptRecord::of(error, elapsed).with_decision(decision)),
        }
    }

    /// Makes the error of a call that ended before its next attempt. If the call was cancelled,
    /// this is the error of its context, with the error of the last attempt as the source.
    fn ended(mut self, cause: Cause, last: Error) -> Error {
        if let Some(record) = self.attempts.last_mut() {
            record.decision = Some(RetryDecision::CallEnded);
        }
        let error = match Attempt::start(self.ctx, defaults::CLIENT_TIMEOUT) {
            Err(cancelled) if cause != Cause::DeadlineExceeded => cancelled.with_source(last),
            // A pause ends before the deadline unless the clock jumps. Then the last real error is
            // more informative than an expired deadline.
            _ => last,
        };
        error.with_attempts(self.attempts)
    }
}

/// Returns which timer has expired, if any.
fn timer(ctx: &Context, timed: Option<&Context>) -> Timer {
    if ctx.cause().is_some() {
        return Timer::Call;
    }
    match timed.and_then(Context::cause) {
        Some(Cause::DeadlineExceeded) => Timer::Attempt,
        _ => Timer::None,
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("config", &self.config)
            .field("budget", &self.budget)
            .field("latencies", &self.latencies)
            .finish_non_exhaustive()
    }
}
