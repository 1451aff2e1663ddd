//! The server side's rules for every request, used by every transport's server.

mod handle;
mod rescope;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;

use crate::context::{CancelHandle, Cause, Context, Deadline};
use crate::defaults;
use crate::error::{Code, Delivery, Error, Reason};
use crate::limits::Limits;
use crate::request::Request;
use crate::routes::{Found, Routes};
use crate::server::DrainReport;
use crate::target::Target;

pub use handle::Handle;
pub use rescope::rescope;

/// What a server grants to the requests that arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IntakeConfig {
    /// Most requests in flight; the next one is refused. Default 1024; 0 refuses every request.
    pub in_flight_max: usize,
    /// Time for a request that carries no timeout. Default 30 s.
    pub timeout_default: Duration,
    /// Shortest time granted to a request that has any left. Default 0: as it asks.
    pub timeout_min: Duration,
    /// Longest time granted, whatever the request asks for. Default 5 min.
    pub timeout_max: Duration,
    /// Longest bodies.
    pub limits: Limits,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            in_flight_max: defaults::IN_FLIGHT_MAX,
            timeout_default: defaults::SERVER_TIMEOUT,
            timeout_min: Duration::ZERO,
            timeout_max: defaults::SERVER_TIMEOUT_MAX,
            limits: Limits::default(),
        }
    }
}

impl IntakeConfig {
    /// Replaces the most requests in flight.
    #[must_use]
    pub fn with_in_flight_max(mut self, requests: usize) -> Self {
        self.in_flight_max = requests;
        self
    }

    /// Replaces the time for a request that carries no timeout.
    #[must_use]
    pub fn with_timeout_default(mut self, timeout: Duration) -> Self {
        self.timeout_default = timeout;
        self
    }

    /// Replaces the shortest time granted.
    #[must_use]
    pub fn with_timeout_min(mut self, timeout: Duration) -> Self {
        self.timeout_min = timeout;
        self
    }

    /// Replaces the longest time granted.
    #[must_use]
    pub fn with_timeout_max(mut self, timeout: Duration) -> Self {
        self.timeout_max = timeout;
        self
    }

    /// Replaces the longest bodies.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Clamps what a request asks for; no time left stays no time left.
    fn grant(&self, asked: Option<Duration>) -> Duration {
        let asked = asked.unwrap_or(self.timeout_default);
        if asked.is_zero() { asked } else { asked.max(self.timeout_min).min(self.timeout_max) }
    }
}

/// What the head of a request says, as far as it becomes its [`Context`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Inbound<'a> {
    /// The time that the caller grants; `None` when it did not say, zero when none is left.
    pub timeout: Option<Duration>,
    /// How many attempts of the call preceded this one.
    pub retries: u32,
    /// The request id.
    pub request_id: Option<&'a str>,
    /// W3C `traceparent`.
    pub traceparent: Option<&'a str>,
    /// W3C `tracestate`.
    pub tracestate: Option<&'a str>,
    /// W3C `baggage`.
    pub baggage: Option<&'a str>,
}

impl<'a> Inbound<'a> {
    /// Makes the head of a request that grants `timeout` and says nothing else.
    #[must_use]
    pub fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, ..Self::default() }
    }

    /// Makes the head that a caller's context amounts to, for transports that pass it by value.
    #[must_use]
    pub fn of(ctx: &'a Context, timeout_millis: Option<u64>) -> Self {
        Self {
            timeout: timeout_millis.map(Duration::from_millis),
            retries: ctx.retries(),
            request_id: ctx.request_id(),
            traceparent: ctx.traceparent(),
            tracestate: ctx.tracestate(),
            baggage: ctx.baggage(),
        }
    }
}

/// The server side's rules for every request: routes, admission, deadlines, panics, drain.
///
/// Cloning it shares it. A transport makes the context of a request when its head has arrived,
/// with [`Intake::context`], and hands the whole request to [`Intake::handle`].
#[derive(Clone)]
pub struct Intake(Arc<Shared>);

pub(crate) struct Shared {
    routes: Routes,
    config: IntakeConfig,
    in_flight: AtomicUsize,
    draining: AtomicBool,
    /// Whether a drain still admits: what the broker has routed here can go nowhere else.
    lingering: AtomicBool,
    idle: Notify,
    /// The contexts of requests that have been pending, for cancelling them all at shutdown.
    pending: Mutex<Slab<Context>>,
    completed: AtomicU64,
    aborted: AtomicU64,
    refused: AtomicU64,
}

impl Intake {
    /// Makes an intake for these routes.
    #[must_use]
    pub fn new(routes: impl Into<Routes>, config: IntakeConfig) -> Self {
        Self(Arc::new(Shared {
            routes: routes.into(),
            config,
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            idle: Notify::new(),
            pending: Mutex::default(),
            completed: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Returns the routes, for a transport that subscribes to them.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.routes
    }

    /// Returns what the server grants.
    #[must_use]
    pub fn config(&self) -> &IntakeConfig {
        &self.0.config
    }

    /// Finds who answers a target.
    ///
    /// # Errors
    ///
    /// `Unimplemented`, rejected, `no-such-target`, when nobody does.
    pub fn find(&self, target: &Target) -> Result<Found<'_>, Error> {
        self.0.routes.find(target)
    }

    /// Makes the context of a request whose head has just arrived: a root, with the deadline
    /// clamped to what the server grants.
    ///
    /// The transport keeps the handle: it cancels with [`Cause::PeerGone`] or
    /// [`Cause::Cancelled`] when the caller goes away, and with [`Cause::Finished`] at the end.
    pub fn context(&self, inbound: Inbound<'_>) -> (Context, CancelHandle) {
        let deadline = Deadline::after(self.0.config.grant(inbound.timeout));
        let data = crate::context::Data::receive(
            inbound.request_id,
            inbound.traceparent,
            inbound.tracestate,
            inbound.baggage,
        );
        Context::for_inbound(deadline, inbound.retries, data, Arc::clone(&self.0))
    }

    /// Handles one request in the context that [`Intake::context`] made for it.
    ///
    /// Refuses it, as `Rejected`, when it has expired, is too large, has no responder, when the
    /// server drains or has too many in flight. Runs the handler otherwise; drops it at the
    /// deadline or when the context is cancelled; turns a panic into an error; re-scopes errors.
    ///
    /// # Errors
    ///
    /// As said; an error's delivery is what this server knows: `Rejected` as long as the handler
    /// was not entered, `Processed` afterwards, `Unknown` while a bridge waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the handler and frees its place.
    pub fn handle<'a>(&'a self, ctx: &'a Context, request: Request) -> Handle<'a> {
        match self.admit(ctx, &request) {
            Ok((found, guard)) => Handle::run(&self.0, ctx, request, found, guard),
            Err(error) => Handle::refuse(&self.0, ctx, error),
        }
    }

    fn admit(&self, ctx: &Context, request: &Request) -> Result<(Found<'_>, InFlight), Error> {
        let shared = &self.0;
        if let Some(cause) = ctx.cause() {
            let error = Error::from_cause(cause, Delivery::Rejected);
            return Err(match cause {
                Cause::DeadlineExceeded => error.with_reason(Reason::EXPIRED_ON_ARRIVAL),
                _ => error,
            });
        }
        let limits = shared.config.limits;
        if request.body.len() > limits.request_bytes_max {
            return Err(limits.request_too_large(Delivery::Rejected));
        }
        let found = shared.routes.find(&request.target)?;
        Ok((found, InFlight::admit(shared)?))
    }

    /// Stops admission: from now on requests are refused as `draining`.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Lets a drain go on admitting until [`Intake::refuse`].
    ///
    /// For transports over a broker: what it has routed here before it knew of the drain can go
    /// nowhere else, and refusing it would fail calls that another member could have answered.
    pub fn linger(&self) {
        self.0.lingering.store(true, Ordering::SeqCst);
    }

    /// Ends [`Intake::linger`]: while draining, requests are refused again.
    pub fn refuse(&self) {
        self.0.lingering.store(false, Ordering::SeqCst);
    }

    /// Tells whether a drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Returns how many requests are in flight, shielded work included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// Waits until nothing is in flight.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn idle(&self) {
        loop {
            let notified = self.0.idle.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Cancels every request in flight.
    pub fn cancel_all(&self, cause: Cause) {
        let pending: Vec<Context> = self.0.pending().iter().map(|(_, ctx)| ctx.clone()).collect();
        for ctx in pending {
            ctx.cancel_own_scope(cause);
        }
    }

    /// Returns what has become of the requests since the drain began.
    #[must_use]
    pub fn report(&self) -> DrainReport {
        DrainReport {
            completed: self.0.completed.load(Ordering::SeqCst),
            aborted: self.0.aborted.load(Ordering::SeqCst),
            refused: self.0.refused.load(Ordering::SeqCst),
        }
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("in_flight", &self.in_flight())
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Slab<Context>> {
        // A panic cannot leave the slab half-changed: nothing foreign runs under the lock.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts, while draining, what became of a request that was in flight.
    fn count(&self, cause: Option<Cause>) {
        if self.draining.load(Ordering::SeqCst) {
            let aborted = cause == Some(Cause::Shutdown);
            let counter = if aborted { &self.aborted } else { &self.completed };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A place among the requests in flight; dropping it frees the place.
pub(crate) struct InFlight(Arc<Shared>);

impl InFlight {
    /// Takes a place, or says why there is none. Never waits.
    fn admit(shared: &Arc<Shared>) -> Result<Self, Error> {
        // Counted before the drain is looked at: a drain that sees nobody in flight has really
        // stopped admission.
        let before = shared.in_flight.fetch_add(1, Ordering::SeqCst);
        let place = Self(Arc::clone(shared));
        let draining = shared.draining.load(Ordering::SeqCst);
        if draining && !shared.lingering.load(Ordering::SeqCst) {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            let text = "the server is draining";
            return Err(Error::failure(
                Code::Unavailable,
                Delivery::Rejected,
                Reason::DRAINING,
                text,
            ));
        }
        if before >= shared.config.in_flight_max {
            return Err(Error::failure(
                Code::ResourceExhausted,
                Delivery::Rejected,
                Reason::OVERLOADED,
                format!("{} requests are in flight already", shared.config.in_flight_max),
            ));
        }
        Ok(place)
    }

    /// Takes a place for work that belongs to a request which was admitted.
    pub(crate) fn join(account: Arc<Shared>) -> Self {
        account.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(account)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
