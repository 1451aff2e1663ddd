//! Limit of calls in flight.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::observe::{Event, Observers};
use rr_spi::{
    Code, Context, Deadline, Delivery, Error, Middleware, Next, Reason, Request, Response, Target,
    async_trait,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::adaptive::{Aimd, Fixed, Gradient, Limit};
use super::config::{AdaptiveConfig, ConcurrencyConfig};
use super::gate::{Entered, Entry, Gate};
use super::key::{KeyOf, key};
use super::permit::{Permit, Waiting};
use crate::retry::latencies::Latencies;

/// Middleware that limits the calls in flight, for routes and for requesters.
///
/// Around routes ([`Router::with`](crate::Router::with)) it protects the handlers; around a
/// requester, inside of [`Retry`](crate::retry::Retry), it protects the destination. A call above
/// the limit waits for [`wait_max`](ConcurrencyConfig::wait_max), or is refused.
///
/// # Priority
///
/// Calls that are [`Sheddable`](crate::context::Criticality::Sheddable) fill at most 60 % of the
/// limit, and `SheddablePlus` at most 80 %. Of waiting calls, the most critical runs first; among
/// them one of the key with the fewest running calls ([`with_key`](Self::with_key)), so that a busy
/// tenant does not keep others waiting; then by [`Order`](super::Order).
///
/// A call is refused if less time is left than the median time of the calls to its target in the
/// last 20 to 30 s: the deadline would probably cut it off.
///
/// # Errors
///
/// `ResourceExhausted`, `overloaded`, for a call above the limit; `DeadlineExceeded`,
/// `expired-on-arrival`, for one without enough time. Both are rejected on a server, and not sent at
/// a requester.
///
/// # Cancel safety
///
/// Dropping a call that waits ends its wait; dropping one that runs begins the next.
///
/// # Examples
///
/// ```
/// use rr_core::limit::ConcurrencyLimit;
/// use rr_core::{Context, Error, Request, Response, Router};
///
/// async fn report(_: Context, _: Request) -> Result<Response, Error> {
///     Ok(Response::new("done"))
/// }
///
/// let router = Router::new().route("reports.make", report).with(ConcurrencyLimit::fixed(8));
/// ```
pub struct ConcurrencyLimit {
    config: ConcurrencyConfig,
    key_of: Option<Box<KeyOf>>,
    latencies: Latencies,
    observers: Observers,
    state: Arc<Mutex<State>>,
}

/// Shortest time between two reports of the limit.
const REPORTED_EVERY: Duration = Duration::from_secs(1);

/// State of a limit, shared with the permits.
pub(super) struct State {
    pub(super) gate: Gate<oneshot::Sender<usize>>,
    pub(super) limit: Box<dyn Limit>,
    pub(super) config: ConcurrencyConfig,
    /// When the limit was last reported to observers.
    reported: Option<Instant>,
}

impl State {
    /// Begins the waiting calls that may run.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(wakes) = self.gate.next(self.limit.limit(now), &self.config) {
            // Cannot fail: a wait that ends leaves the gate first, under the same lock.
            let _ = wakes.send(self.gate.running());
        }
    }
}

impl ConcurrencyLimit {
    /// Makes a limit of this number of calls; 0 counts as 1.
    #[must_use]
    pub fn fixed(calls: usize) -> Self {
        Self::with_limit(Box::new(Fixed(calls.max(1))))
    }

    /// Makes a limit that follows the latency: it grows while the mean latency stays near that
    /// without contention, and shrinks as the latency rises or calls fail by overload.
    ///
    /// The limit changes after each step. A step ends when at least 100 calls and as many as were in
    /// flight have ended and their mean latency is known to an eighth, at the latest after 1000
    /// calls. `ResourceExhausted`, `DeadlineExceeded` and calls dropped after their deadline count as
    /// overload if they are at least a tenth of a step.
    ///
    /// # Probes
    ///
    /// A probe measures the latency without contention: the limit halves itself for a step of 100
    /// calls, and again while that lowers the latency. Calls above the halved limit wait or are
    /// refused meanwhile. A probe ends without a result if too few calls end in the time that they
    /// are expected to take and 2 s more.
    ///
    /// While the latency is high and at least half of the limit is used, there is a probe from every
    /// 2 s to every 30 s; the more often the measurements agree, the rarer they are. Otherwise there
    /// is a probe only if the latency has been measured with more than half of the limit in use
    /// alone: one after 30 s, and one after the latency has fallen by a fifth.
    ///
    /// A limit of which less than half is used does not grow. It falls only while the latency is
    /// high, and then to twice the calls in flight. If few calls take very long, such as 10 calls per
    /// second of 20 s each, set [`initial`](AdaptiveConfig::initial) above their number in flight.
    #[must_use]
    pub fn adaptive(config: AdaptiveConfig) -> Self {
        Self::with_limit(Box::new(Gradient::new(config)))
    }

    /// Makes a limit that grows by one with each full turn, and shrinks by a tenth when a call fails by
    /// overload or takes longer than `slow`, once for the calls that are in flight then.
    #[must_use]
    pub fn additive(config: AdaptiveConfig, slow: Duration) -> Self {
        Self::with_limit(Box::new(Aimd::new(config, slow)))
    }

    fn with_limit(limit: Box<dyn Limit>) -> Self {
        let config = ConcurrencyConfig::default();
        let gate = Gate::default();
        let state = State { gate, limit, config: config.clone(), reported: None };
        Self {
            config,
            key_of: None,
            latencies: Latencies::default(),
            observers: Observers::default(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Replaces the configuration of waits and refusals.
    #[must_use]
    pub fn with_config(mut self, config: ConcurrencyConfig) -> Self {
        lock(&self.state).config = config.clone();
        self.config = config;
        self
    }

    /// Sets a function that returns the key of a call, such as its tenant. Calls of one key share
    /// [`key_percent_max`](ConcurrencyConfig::key_percent_max). Only the first 128 bytes count.
    #[must_use]
    pub fn with_key(
        mut self,
        key_of: impl Fn(&Context, &Request) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.key_of = Some(Box::new(key_of));
        self
    }

    /// Replaces the observers; none by default. They are told of each call that is refused
    /// ([`Event::LimitRefused`]), and once per second of the limit ([`Event::LimitReported`]). The
    /// limit of a layer over several services is reported under one of them at a time.
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Returns the limit at this moment.
    #[must_use]
    pub fn limit(&self) -> usize {
        lock(&self.state).limit.limit(Instant::now())
    }

    /// Returns the number of running calls.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        lock(&self.state).gate.running()
    }

    /// Returns the number of waiting calls.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.state).gate.waiting()
    }

    fn entry(&self, ctx: &Context, request: &Request) -> Entry {
        let key = key(self.key_of.as_deref(), ctx, request);
        Entry { criticality: ctx.criticality(), key }
    }

    /// Returns the instant by which the call must run to end in time; fails if it has passed.
    fn start_by(
        &self,
        ctx: &Context,
        request: &Request,
        now: Instant,
    ) -> Result<Option<Instant>, Error> {
        let Some(deadline) = ctx.deadline().map(Deadline::instant) else { return Ok(None) };
        if !self.config.sheds_hopeless {
            return Ok(Some(deadline));
        }
        let typical = self.latencies.median(&request.target, now).unwrap_or_default();
        match deadline.checked_sub(typical) {
            Some(by) if by > now => Ok(Some(by)),
            _ => Err(self.refused(ctx, request, hopeless(ctx))),
        }
    }

    /// Waits until the call may run.
    async fn enter(&self, ctx: &Context, request: &Request) -> Result<Permit, Error> {
        if let Some(cause) = ctx.cause() {
            return Err(Error::from_cause(cause, delivery(ctx)));
        }
        let now = Instant::now();
        let by = self.start_by(ctx, request, now)?;
        let entry = self.entry(ctx, request);
        let mut begun = None;
        let (entered, in_flight) = {
            let mut state = lock(&self.state);
            let limit = state.limit.limit(now);
            // Most calls need no channel.
            let entered = state.gate.enter(&entry, limit, &self.config, || {
                let (sender, receiver) = oneshot::channel();
                begun = Some(receiver);
                sender
            });
            (entered, state.gate.running())
        };
        let mut waiting = match (entered, begun) {
            (Entered::Runs, _) => {
                return Ok(Permit::new(Arc::clone(&self.state), entry, in_flight));
            }
            (Entered::Waits(id), Some(begun)) => Waiting::new(&self.state, id, entry, begun),
            _ => return Err(self.refused(ctx, request, overloaded(ctx))),
        };
        let wait_end = Deadline::after_at(now, self.config.wait_max).instant();
        let end = by.map_or(wait_end, |by| by.min(wait_end));
        match ctx.race(timeout_at(end, waiting.permit())).await {
            Ok(Ok(Some(permit))) => Ok(permit),
            // The wait is over, or a more important call has displaced this one.
            Ok(_) => Err(self.refused(ctx, request, overloaded(ctx))),
            Err(cause) => Err(Error::from_cause(cause, delivery(ctx))),
        }
    }

    /// Reports that a call is refused with this error.
    fn refused(&self, ctx: &Context, request: &Request, error: Error) -> Error {
        if !self.observers.is_empty() {
            let limit = self.limit() as u64;
            self.observers.event(&Event::limit_refused(ctx, &request.target, &error, limit));
        }
        error
    }

    /// Reports the limit if the last report is old enough.
    fn report(&self, target: &Target, now: Instant) {
        if self.observers.is_empty() {
            return;
        }
        let limit = {
            let mut state = lock(&self.state);
            if state.reported.is_some_and(|at| now.duration_since(at) < REPORTED_EVERY) {
                return;
            }
            state.reported = Some(now);
            state.limit.limit(now) as u64
        };
        self.observers.event(&Event::limit_reported(target, limit));
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic cannot leave the counts half-changed: no foreign code runs under the lock.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Middleware for ConcurrencyLimit {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let deadline = ctx.deadline().map(Deadline::instant);
        let permit = self.enter(ctx, &request).await?.with_deadline(deadline);
        let target = request.target.clone();
        let outcome = next.run(ctx, request).await;
        let took = permit.end(&outcome);
        let now = Instant::now();
        if outcome.is_ok() {
            self.latencies.record(&target, now, took);
        }
        self.report(&target, now);
        outcome
    }
}

/// Returns the delivery of a call that has not gone further than this layer.
fn delivery(ctx: &Context) -> Delivery {
    ctx.delivery().unwrap_or(Delivery::NotSent)
}

fn overloaded(ctx: &Context) -> Error {
    let text = "too many calls are in flight";
    Error::failure(Code::ResourceExhausted, delivery(ctx), Reason::OVERLOADED, text)
}

fn hopeless(ctx: &Context) -> Error {
    let text = "less time is left than calls to this target take";
    Error::failure(Code::DeadlineExceeded, delivery(ctx), Reason::EXPIRED_ON_ARRIVAL, text)
}

impl fmt::Debug for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("ConcurrencyLimit")
            .field("limit", &state.limit.limit(Instant::now()))
            .field("in_flight", &state.gate.running())
            .field("waiting", &state.gate.waiting())
            .finish_non_exhaustive()
    }
}
