//! Trying a failed call again, where that is safe and worth it.

mod backoff;
mod budget;
mod config;
mod decide;
mod latencies;
mod latency;
mod learned;
pub(crate) mod recommended;

use std::fmt;
use std::time::Duration;

use rr_spi::{
    Attempt, Cause, Context, Entropy, Error, Idempotency, Middleware, Next, OsEntropy, Request,
    Response, async_trait, defaults,
};
use tokio::time::{Instant, sleep};

use decide::{Failure, Progress, Repeatable, Timer};
use latencies::Latencies;
use learned::Learned;

pub use budget::{RetryBudget, RetryBudgetConfig};
pub use config::RetryConfig;
pub use rr_spi::{AttemptRecord, RetryVerdict};

/// Tries failed calls again, where that is safe and worth it. For the requester's side.
///
/// Whether it is safe depends on the error's [`Delivery`](rr_spi::Delivery) and on what the request
/// says of itself: what provably did not run is tried again for any request, what may have run
/// only for those that are [`Safe`](Idempotency::Safe), [`Idempotent`](Idempotency::Idempotent), or
/// [`Keyed`](Idempotency::Keyed) where the destination is known to deduplicate. Whether it is worth
/// it depends on the time that is left and on how long calls to the same target take, on what the
/// peer asks for, and on a [`RetryBudget`] that all calls to the destination share.
///
/// A first failure that provably did not run is sent again at once, once. All attempts share the
/// deadline of the call, and each tells the peer how many preceded it. A call that came in as a
/// retry itself, or is made below another retry layer that is retrying, is tried once: only one
/// layer retries.
///
/// # Errors
///
/// That of the last attempt, with what each attempt did ([`Error::attempts`], and for people
/// [`Error::account`]); its delivery is the worst of all of them. A call that is cancelled while it
/// waits for the next attempt is `Canceled`.
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
    deduplicating: Learned,
    entropy: Box<dyn Entropy>,
}

impl Retry {
    /// Makes a retry layer with the default configuration and a budget of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(RetryConfig::default())
    }

    /// Makes a retry layer with the given configuration and a budget of its own.
    #[must_use]
    pub fn with_config(config: RetryConfig) -> Self {
        Self {
            budget: RetryBudget::with_config(&config.budget),
            config,
            latencies: Latencies::default(),
            deduplicating: Learned::default(),
            entropy: Box::new(OsEntropy::new()),
        }
    }

    /// Replaces the budget by one that others draw on too; it holds instead of the configured one.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Replaces the source of chance for the pauses; a seeded one repeats a run.
    #[must_use]
    pub fn with_entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// Returns the budget, to share it or to see what is left.
    #[must_use]
    pub fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// Tells whether a request may run twice.
    fn repeatable(&self, request: &Request) -> Repeatable {
        let twice = match request.idempotency {
            Idempotency::Safe | Idempotency::Idempotent => true,
            Idempotency::Keyed(_) => {
                self.config.deduplicates || self.deduplicating.knows(&request.target)
            }
            _ => false,
        };
        if twice { Repeatable::Yes } else { Repeatable::No }
    }

    /// Returns the context of an attempt that has a timer of its own; others have the call's.
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
        self.deduplicating.hear(request, Ok(response));
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
            // A retry of a layer further out is no call: it pays for none here.
            self.budget.deposit_at(started);
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
        // In a box of its own: a call that succeeds at first does not pay for its size.
        Box::pin(call.go_on(started, timed, error)).await
    }
}

/// A call whose first attempt has failed.
struct RetryLoop<'a> {
    retry: &'a Retry,
    ctx: &'a Context,
    request: &'a Request,
    next: Next<'a>,
    progress: Progress,
    attempts: Vec<AttemptRecord>,
}

impl RetryLoop<'_> {
    /// Makes further attempts for as long as that is decided.
    async fn go_on(
        mut self,
        mut started: Instant,
        mut timed: Option<Context>,
        mut error: Error,
    ) -> Result<Response, Error> {
        loop {
            let verdict = self.decide(started, timed.as_ref(), &error);
            if !verdict.goes_on() {
                return Err(error.with_attempts(self.attempts));
            }
            if let RetryVerdict::Again(pause) = verdict {
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

    /// Decides what follows a failure, and takes it down.
    fn decide(&mut self, started: Instant, timed: Option<&Context>, error: &Error) -> RetryVerdict {
        let (retry, now) = (self.retry, Instant::now());
        retry.deduplicating.hear(self.request, Err(error));
        let failure = Failure {
            error,
            now,
            deadline: self.ctx.deadline().map(rr_spi::Deadline::instant),
            typical: retry.latencies.median(&self.request.target, now).unwrap_or_default(),
            repeatable: retry.repeatable(self.request),
            timer: timer(self.ctx, timed),
        };
        let mut verdict = self.progress.decide(&retry.config, &failure, &*retry.entropy);
        if verdict.goes_on() && !retry.budget.withdraw_at(now) {
            verdict = RetryVerdict::BudgetSpent;
        }
        self.record(error, now.duration_since(started), verdict);
        verdict
    }

    /// Adds what an attempt did; one that was several to a layer below, as that layer saw it.
    fn record(&mut self, error: &Error, elapsed: Duration, verdict: RetryVerdict) {
        self.attempts.extend_from_slice(error.attempts());
        match self.attempts.last_mut() {
            Some(last) if !error.attempts().is_empty() => last.verdict = Some(verdict),
            _ => self.attempts.push(AttemptRecord::of(error, elapsed).with_verdict(verdict)),
        }
    }

    /// Makes the error of a call that ended before its next attempt: what its context says when it
    /// was cancelled, with the error of the last attempt behind it.
    fn ended(mut self, cause: Cause, last: Error) -> Error {
        if let Some(record) = self.attempts.last_mut() {
            record.verdict = Some(RetryVerdict::CallEnded);
        }
        let error = match Attempt::start(self.ctx, defaults::CLIENT_TIMEOUT) {
            Err(cancelled) if cause != Cause::DeadlineExceeded => cancelled.with_source(last),
            // A pause is never meant to reach the deadline; should the clock jump, the last real
            // error says more than that there is no time left.
            _ => last,
        };
        error.with_attempts(self.attempts)
    }
}

/// Tells which timer has run out, if one has.
fn timer(ctx: &Context, timed: Option<&Context>) -> Timer {
    if ctx.cause().is_some() {
        return Timer::RetryLoop;
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
