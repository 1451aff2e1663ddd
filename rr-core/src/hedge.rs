//! Second requests for calls that take unusually long.

mod config;
mod race;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rr_spi::observe::Observers;
use rr_spi::{BoxFuture, Context, Error, Idempotency, Middleware, Next, Request, Response, Target};
use tokio::time::Instant;

use crate::retry::latencies::Latencies;
use crate::retry::{RetryBudget, RetryBudgetConfig};

pub use config::HedgeConfig;

/// Middleware for requesters that sends a second request when the first takes unusually long, and
/// returns the reply that comes first.
///
/// It hedges only [`Safe`](Idempotency::Safe) and [`Idempotent`](Idempotency::Idempotent) requests,
/// at most once for each call. The second request leaves when the first has taken longer than 99 %
/// of the successful calls to the same target in the last 20 to 30 s, and not before there were 10
/// of them. It is useful where single replies are slow by chance, or one replica is slow; then put
/// the layer outside of a [`Balance`](crate::balance::Balance). If all replies become slow, the
/// budget bounds the additional load to 1 % of the calls.
///
/// The request that loses is dropped, which cancels it at its server. An error that a retry layer
/// would retry does not win: the call then waits for the other request.
///
/// # Errors
///
/// The error of the only request, the first final error, or the last error if both requests failed.
/// After two requests the error has a record of each ([`Error::attempts`]), and the worst delivery
/// of both; a request that was dropped in flight counts as `Unknown`.
///
/// # Cancel safety
///
/// Dropping the call drops both requests.
///
/// # Examples
///
/// ```
/// use rr_core::hedge::Hedge;
/// use rr_core::retry::Retry;
/// use rr_core::{Requester, Stack};
///
/// fn hedged(client: impl Requester) -> impl Requester {
///     let retry = Retry::new();
///     let hedge = Hedge::new().with_budget(retry.budget().clone());
///     Stack::new(client).with(retry).with(hedge)
/// }
/// ```
pub struct Hedge {
    config: HedgeConfig,
    /// Bounds the additional load. It has no floor, which would add to the load of idle calls.
    own: RetryBudget,
    shared: Option<RetryBudget>,
    latencies: Latencies,
    observers: Observers,
    sent: AtomicU64,
    won: AtomicU64,
    refused: AtomicU64,
}

/// Numbers of hedged calls since the layer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HedgeStats {
    /// Second requests that were sent.
    pub sent: u64,
    /// Second requests whose outcome became that of their call.
    pub won: u64,
    /// Second requests that a budget refused.
    pub refused: u64,
}

impl Hedge {
    /// Makes a layer with the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(HedgeConfig::default())
    }

    /// Makes a layer with the given configuration.
    #[must_use]
    pub fn with_config(config: HedgeConfig) -> Self {
        let budget =
            RetryBudgetConfig::default().with_percent(config.percent()).with_floor_per_second(0);
        Self {
            config,
            own: RetryBudget::with_config(&budget),
            shared: None,
            latencies: Latencies::default(),
            observers: Observers::default(),
            sent: AtomicU64::new(0),
            won: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Adds the budget that the retries of the destination draw on. A second request then needs both
    /// budgets.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> Self {
        self.shared = Some(budget);
        self
    }

    /// Replaces the observers; none by default. They are told of each second request
    /// ([`Hedged`](crate::observe::Event::Hedged)), of each whose outcome became that of its call
    /// ([`HedgeWon`](crate::observe::Event::HedgeWon)), and of each that a budget refused
    /// ([`HedgeRefused`](crate::observe::Event::HedgeRefused)).
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Returns the numbers of second requests.
    #[must_use]
    pub fn stats(&self) -> HedgeStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HedgeStats { sent: read(&self.sent), won: read(&self.won), refused: read(&self.refused) }
    }

    /// Returns the time after which a second request to a target leaves; `None` until enough calls
    /// have succeeded.
    #[must_use]
    pub fn delay(&self, target: &Target) -> Option<Duration> {
        self.delay_at(target, Instant::now())
    }

    fn delay_at(&self, target: &Target, now: Instant) -> Option<Duration> {
        let delay = self.latencies.quantile(target, now, self.config.per_mille())?;
        Some(delay.max(self.config.delay_min))
    }

    /// Withdraws a second request from both budgets, or from neither.
    fn withdraw(&self, now: Instant) -> bool {
        match &self.shared {
            Some(shared) => self.own.withdraw_if(now, || shared.withdraw_at(now)),
            None => self.own.withdraw_at(now),
        }
    }
}

impl Middleware for Hedge {
    fn handle<'a, 'c, 'n, 'f>(
        &'a self,
        ctx: &'c Context,
        request: Request,
        next: Next<'n>,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
        'c: 'f,
        'n: 'f,
    {
        match request.idempotency {
            Idempotency::Safe | Idempotency::Idempotent => {
                Box::pin(self.hedged(ctx, request, next))
            }
            _ => next.run(ctx, request),
        }
    }
}

impl Default for Hedge {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
