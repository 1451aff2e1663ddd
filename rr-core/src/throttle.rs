//! Throttling of calls to a destination that refuses or fails them.

use std::fmt;
use std::ops::SubAssign;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::observe::{Event, Observers};
use rr_spi::{
    Code, Context, Delivery, Entropy, Error, Middleware, Next, OsEntropy, Reason, Request,
    Response, RetryHint, async_trait,
};
use tokio::time::Instant;

use crate::window::Window;

/// Slices of the window; the oldest is dropped as a whole.
const SLICES: usize = 10;

/// Bounds of the window. A shorter one is decided by chance; a longer one remembers an outage for
/// too long after it.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_secs(300);

/// Most calls in percent that are held back, in any configuration: the others find out that the
/// destination has recovered.
const DROPPED_PERCENT_MAX: u32 = 95;

rr_spi::options! {
    /// Window and thresholds of a [`Throttle`].
    pub struct ThrottleConfig {
        /// Calls per accepted call, in percent, from which calls are held back. Default 200: the
        /// destination may refuse half of the calls. Less than 100 counts as 100.
        pub calls_percent: u32 = 200, with_calls_percent(u32);
        /// Maximum part of the calls that is held back, in percent. Default 80; more than 95 counts
        /// as 95, and 0 holds back none.
        pub dropped_percent_max: u32 = 80, with_dropped_percent_max(u32);
        /// Calls of the window that may fail before any is held back. Default 20.
        pub failures_free: u32 = 20, with_failures_free(u32);
        /// Time during which calls count. Default 10 s; clamped to 1 s at least and 300 s at most.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub window: Duration = Duration::from_secs(10), with_window(Duration);
    }
}

/// Middleware for requesters that holds calls back while the destination refuses or fails most of
/// them.
///
/// A call is held back with the probability `(calls - 2 * accepted - 20) / (calls + 1)`, at most
/// 80 %, over the calls that ended in the last 10 s (Site Reliability Engineering, chapter 21,
/// "Client-Side Throttling"; the 20 failures that are free keep a throttle with few calls from
/// acting by chance). Calls that were held back count as calls, so that the probability follows the
/// load. Make one throttle for each destination, outside of [`Retry`](crate::retry::Retry).
///
/// | outcome | counts as |
/// |---|---|
/// | `Unavailable`, `ResourceExhausted`, `DeadlineExceeded`, if no handler answered | not accepted |
/// | errors that this process makes before it sends; a dropped or cancelled call | nothing |
/// | a reply, any other error | accepted |
///
/// # Errors
///
/// `ResourceExhausted`, not sent, `throttled`, never retried, for a call that is held back. Otherwise
/// those of the inner layers.
///
/// # Cancel safety
///
/// A call that is dropped counts as nothing.
///
/// # Examples
///
/// ```
/// use rr_core::throttle::Throttle;
/// use rr_core::retry::Retry;
/// use rr_core::{Requester, Stack};
///
/// fn considerate(client: impl Requester) -> impl Requester {
///     Stack::new(client).with(Throttle::new()).with(Retry::new())
/// }
/// ```
pub struct Throttle {
    config: ThrottleConfig,
    history: Mutex<History>,
    entropy: Box<dyn Entropy>,
    observers: Observers,
}

impl Throttle {
    /// Makes a throttle with the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(ThrottleConfig::default())
    }

    /// Makes a throttle with the given configuration.
    #[must_use]
    pub fn with_config(config: ThrottleConfig) -> Self {
        let history = Mutex::new(History::new(&config));
        let observers = Observers::default();
        Self { config, history, entropy: Box::new(OsEntropy::new()), observers }
    }

    /// Replaces the entropy source of the choice; a seeded source makes a run reproducible.
    #[must_use]
    pub fn with_entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// Replaces the observers; none by default. They are told of each call that is held back
    /// ([`Event::Throttled`]).
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Returns the part of the calls that is held back now, in thousandths.
    #[must_use]
    pub fn dropped_per_mille(&self) -> u32 {
        self.lock().dropped_per_mille(&self.config, Instant::now())
    }

    /// Decides whether a call is held back, and counts it then.
    fn is_held_back(&self, now: Instant) -> bool {
        let mut history = self.lock();
        let dropped = history.dropped_per_mille(&self.config, now);
        let is_held_back = dropped > 0 && self.entropy.next_u64() % 1000 < u64::from(dropped);
        if is_held_back {
            history.held_back(now);
        }
        is_held_back
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        // A panic of the entropy cannot leave the counts half-changed: it is drawn before a change.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls that ended or were held back, and accepted calls, of the window.
#[derive(Debug)]
struct History(Window<Counts, SLICES>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    calls: u64,
    accepted: u64,
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, gone: Self) {
        self.calls -= gone.calls;
        self.accepted -= gone.accepted;
    }
}

/// What the outcome of a call shows of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    NotAccepted,
    Nothing,
}

impl History {
    fn new(config: &ThrottleConfig) -> Self {
        Self(Window::new(config.window.clamp(WINDOW_MIN, WINDOW_MAX)))
    }

    fn held_back(&mut self, now: Instant) {
        self.0.count(now, |counts| counts.calls += 1);
    }

    /// Counts a call that has ended. A call in flight is not counted: many simultaneous calls to a
    /// destination that has answered none yet would hold each other back.
    fn ended(&mut self, verdict: Verdict, now: Instant) {
        let accepted = match verdict {
            Verdict::Accepted => 1,
            Verdict::NotAccepted => 0,
            Verdict::Nothing => return,
        };
        self.0.count(now, |counts| {
            counts.calls += 1;
            counts.accepted += accepted;
        });
    }

    fn dropped_per_mille(&mut self, config: &ThrottleConfig, now: Instant) -> u32 {
        let Counts { calls, accepted } = self.0.sum(now);
        let allowed = accepted * u64::from(config.calls_percent.max(100)) / 100;
        let excess = calls.saturating_sub(allowed + u64::from(config.failures_free));
        let most = config.dropped_percent_max.min(DROPPED_PERCENT_MAX) * 10;
        let part = u32::try_from(excess * 1000 / (calls + 1)).unwrap_or(most);
        part.min(most)
    }
}

/// Returns what an outcome shows of the destination.
fn verdict(outcome: &Result<Response, Error>) -> Verdict {
    let Err(error) = outcome else { return Verdict::Accepted };
    let is_local = error.delivery() == Delivery::NotSent;
    match error.code() {
        Code::Canceled => Verdict::Nothing,
        // The destination took the call. It may have failed further down, which says nothing of its
        // own load; otherwise the throttles of several tiers recover one after the other.
        _ if error.delivery() == Delivery::Processed => Verdict::Accepted,
        Code::Unavailable => match error.reason() {
            Some(reason) if *reason == Reason::CLOSED || *reason == Reason::BREAKER_OPEN => {
                Verdict::Nothing
            }
            _ => Verdict::NotAccepted,
        },
        Code::DeadlineExceeded | Code::ResourceExhausted if is_local => Verdict::Nothing,
        Code::DeadlineExceeded | Code::ResourceExhausted => Verdict::NotAccepted,
        _ if is_local => Verdict::Nothing,
        _ => Verdict::Accepted,
    }
}

#[async_trait]
impl Middleware for Throttle {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if self.is_held_back(Instant::now()) {
            self.observers.event(&Event::throttled(ctx, &request.target));
            return Err(held_back());
        }
        let outcome = next.run(ctx, request).await;
        self.lock().ended(verdict(&outcome), Instant::now());
        outcome
    }
}

fn held_back() -> Error {
    let text = "the call is held back: the destination refuses or fails most calls";
    Error::failure(Code::ResourceExhausted, Delivery::NotSent, Reason::THROTTLED, text)
        .with_retry(RetryHint::Never)
        .with_hint("look for the cause at the destination; the throttle ends by itself")
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
