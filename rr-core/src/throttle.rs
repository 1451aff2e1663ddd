//! Throttling of calls to a destination that refuses or fails them.

mod history;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::observe::{Event, Observers};
use rr_spi::{
    Code, Context, Delivery, Entropy, Error, Middleware, Next, OsEntropy, Reason, Request,
    Response, RetryHint, Target, async_trait,
};
use tokio::time::Instant;

use history::{Acceptance, Counts, Histories};

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
        /// Calls of the window to a service that may fail before any is held back. Default 20.
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
/// 80 %, over the calls to the same service that ended in the last 10 s (Site Reliability
/// Engineering, chapter 21, "Client-Side Throttling"; the 20 failures that are free keep a throttle
/// with few calls from acting by chance). Calls that were held back count as calls, so that the
/// probability follows the load. Make one throttle for each destination, outside of
/// [`Retry`](crate::retry::Retry).
///
/// Each service of the destination ([`Target::service`]) counts separately, since a client of NATS or
/// of a gateway calls several. Targets without a service count together, and so do services from the
/// 129th on.
///
/// | outcome | counts as |
/// |---|---|
/// | `Unavailable`, `ResourceExhausted`, `DeadlineExceeded`, if no handler answered | not accepted |
/// | `connection-lost`; errors that this process makes before it sends; a dropped or cancelled call | nothing |
/// | a reply, any other error | accepted |
///
/// A connection that cannot be made counts as not accepted. One that is lost counts as nothing: all
/// its calls fail together, and the next connection may answer. A call whose deadline ends while it
/// waits for a connection or for the reply (`expired-connecting` and the later stages) counts as not
/// accepted: make a separate client for calls that are meant to wait until their deadline. A call
/// whose deadline ends while it waits for a place among the calls in flight (`expired-waiting`) counts
/// as nothing.
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
    histories: Mutex<Histories>,
    /// Whether calls to a service may have to be held back. Calls to healthy destinations need the
    /// lock only when they end.
    is_alert: AtomicBool,
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
        Self {
            histories: Mutex::new(Histories::new(&config)),
            config,
            is_alert: AtomicBool::new(false),
            entropy: Box::new(OsEntropy::new()),
            observers: Observers::default(),
        }
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

    /// Returns the part of the calls to the service of this target that is held back now, in
    /// thousandths.
    #[must_use]
    pub fn dropped_per_mille(&self, target: &Target) -> u32 {
        self.lock().of(target.service()).counts(Instant::now()).dropped_per_mille(&self.config)
    }

    /// Decides whether a call is held back, and counts it then.
    fn admit(&self, target: &Target, now: Instant) -> Result<(), Error> {
        // Before the lock: the entropy may belong to the application.
        let drawn = self.entropy.next_u64() % 1000;
        let mut histories = self.lock();
        let admitted = histories.admit(target.service(), drawn, &self.config, now);
        self.is_alert.store(histories.is_alert(now), Ordering::Relaxed);
        drop(histories);
        admitted.map_err(|counts| held_back(target, counts, &self.config))
    }

    /// Counts a call that has ended.
    fn ended(&self, target: &Target, acceptance: Acceptance, now: Instant) {
        let mut histories = self.lock();
        let counts = histories.count(target.service(), acceptance, now);
        if counts.excess(&self.config) > 0 {
            histories.alert(now);
            self.is_alert.store(true, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Histories> {
        // A panic cannot leave the counts half-changed: no foreign code runs under the lock.
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether the destination accepted a call; `None` if the outcome does not show it.
fn acceptance(outcome: &Result<Response, Error>) -> Option<Acceptance> {
    let Err(error) = outcome else { return Some(Acceptance::Accepted) };
    let is_local = error.delivery() == Delivery::NotSent;
    Some(match error.code() {
        Code::Canceled => return None,
        // The destination took the call. It may have failed further down, which says nothing of its
        // own load; otherwise the throttles of several tiers recover one after the other.
        _ if error.delivery() == Delivery::Processed => Acceptance::Accepted,
        Code::Unavailable if error.reason().is_some_and(is_no_refusal) => return None,
        Code::Unavailable => Acceptance::NotAccepted,
        Code::DeadlineExceeded if is_local && !is_of_destination(error) => return None,
        Code::ResourceExhausted if is_local => return None,
        Code::DeadlineExceeded | Code::ResourceExhausted => Acceptance::NotAccepted,
        _ if is_local => return None,
        _ => Acceptance::Accepted,
    })
}

/// Returns whether a call that failed for this reason was not refused by the destination.
fn is_no_refusal(reason: &Reason) -> bool {
    // One connection that is lost ends many calls, and the next connection may answer all.
    [Reason::CLOSED, Reason::BREAKER_OPEN, Reason::CONNECTION_LOST].contains(reason)
}

/// Returns whether a call that expired before it was sent waited for the destination, and not for a
/// place among the calls of this process.
fn is_of_destination(error: &Error) -> bool {
    let reason = error.reason();
    reason.is_some_and(|reason| {
        *reason == Reason::EXPIRED_CONNECTING || *reason == Reason::EXPIRED_SENDING
    })
}

#[async_trait]
impl Middleware for Throttle {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if self.is_alert.load(Ordering::Relaxed) {
            if let Err(held_back) = self.admit(&request.target, Instant::now()) {
                self.observers.event(&Event::throttled(ctx, &request.target));
                return Err(held_back);
            }
        }
        let target = request.target.clone();
        let outcome = next.run(ctx, request).await;
        if let Some(acceptance) = acceptance(&outcome) {
            self.ended(&target, acceptance, Instant::now());
        }
        outcome
    }
}

fn held_back(target: &Target, counts: Counts, config: &ThrottleConfig) -> Error {
    let Counts { calls, accepted } = counts;
    let window = history::window(config).as_secs();
    let text = format!(
        "the client holds back this call to `{target}`: the service accepted {accepted} of \
         {calls} calls of the last {window} s, those held back included"
    );
    Error::failure(Code::ResourceExhausted, Delivery::NotSent, Reason::THROTTLED, text)
        .with_retry(RetryHint::Never)
        .with_hint(
            "look for the cause at the service; a part of the calls is still sent, and all are \
             when it accepts them again",
        )
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
