//! Server-side handling of every request, shared by the servers of all transports.

mod budget;
mod config;
mod handle;
mod pending;

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use crate::context::{CancelHandle, Cause, Context, Deadline, Metadata, ServerState};
use crate::error::Error;
use crate::in_flight::{DrainReport, InFlight};
use crate::inbound::Inbound;
use crate::observe::{Kind, Monitor, Stats, WatchedRequest};
use crate::readiness::{self, Readiness};
use crate::request::Request;
use crate::routes::{RouteMatch, Routes};
use crate::target::Target;

pub use budget::{BodyAccount, BodyBudget, BodyShare};
pub use config::IntakeConfig;
pub use handle::Handle;

use pending::PendingRequests;

/// Server-side handling of every request: routes, admission, deadlines, panics and drain.
///
/// Clones share one intake. When the head of a request has arrived, a transport makes the context
/// with [`Intake::context`]; it passes the whole request to [`Intake::handle`].
#[derive(Clone)]
pub struct Intake(Arc<Shared>);

struct Shared {
    routes: Routes,
    config: IntakeConfig,
    monitor: Monitor,
    in_flight: Arc<InFlight>,
    pending: PendingRequests,
    bodies: BodyBudget,
    /// Account of the requests that no transport has charged to a connection.
    account: Arc<BodyAccount>,
}

/// Intake that is not kept.
#[derive(Clone)]
pub(crate) struct WeakIntake(Weak<Shared>);

impl WeakIntake {
    pub(crate) fn upgrade(&self) -> Option<Intake> {
        self.0.upgrade().map(Intake)
    }
}

impl Intake {
    /// Makes an intake for these routes.
    #[must_use]
    pub fn new(routes: impl Into<Routes>, config: IntakeConfig) -> Self {
        let bodies = BodyBudget::new(config.bodies_bytes_max);
        let account = bodies.whole();
        let (routes, in_flight) = (routes.into(), Arc::default());
        let pending = PendingRequests::default();
        let monitor = Monitor::new(config.observers.clone());
        Self(Arc::new(Shared { routes, config, monitor, in_flight, pending, bodies, account }))
    }

    pub(crate) fn downgrade(&self) -> WeakIntake {
        WeakIntake(Arc::downgrade(&self.0))
    }

    /// Returns the routes, for a transport that subscribes to them.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.routes
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &IntakeConfig {
        &self.0.config
    }

    /// Returns the budget of body bytes that the server holds.
    ///
    /// [`Intake::handle`] charges a request while its handler runs. A transport that holds request
    /// bodies before that, or replies afterwards, charges them to this budget too: see
    /// [`Handle::charged`].
    #[must_use]
    pub fn bodies(&self) -> &BodyBudget {
        &self.0.bodies
    }

    /// Finds the responder of a target.
    ///
    /// # Errors
    ///
    /// `Unimplemented`, rejected, `no-such-target`, when there is none.
    pub fn find(&self, target: &Target) -> Result<RouteMatch<'_>, Error> {
        self.0.routes.find(target)
    }

    /// Makes the root context of a request whose head has just arrived.
    ///
    /// Its deadline is clamped to the limits of the configuration.
    ///
    /// The transport keeps the handle. It cancels with [`Cause::PeerGone`] or [`Cause::Cancelled`]
    /// when the caller goes away, and with [`Cause::Finished`] at the end. If the handle is dropped
    /// before the handler, destructors inside the handler can read the cause.
    pub fn context(&self, inbound: Inbound<'_>) -> (Context, CancelHandle) {
        let now = inbound.arrived.unwrap_or_else(Instant::now);
        let deadline = Deadline::after_at(now, self.0.config.grant(inbound.timeout));
        let data = Metadata::receive(&inbound);
        let (in_flight, peer) = (Arc::clone(&self.0.in_flight), inbound.peer.cloned());
        let server = ServerState::new(inbound.retries, now, in_flight, peer);
        let server = server.with_in_process(inbound.in_process);
        let (ctx, handle) = Context::for_inbound(deadline, data, server);
        if let Some(request) = inbound.request {
            ctx.set_request(request);
        }
        if inbound.wants_spent {
            // The calls of the handler are recorded, for the reply.
            return (ctx.recorded().0, handle);
        }
        (ctx, handle)
    }

    /// Counts a request from here on, and observes it if an observer observes requests.
    ///
    /// Every server calls this once for each request, as soon as its context is made. The server
    /// runs the handler with [`WatchedRequest::context`] and [`Handle::watched`], and reports the
    /// outcome that it sends with [`WatchedRequest::end`]. If the caller is told `Unknown` because
    /// another server may have run the request, the outcome still has the delivery that holds for
    /// this server. `target` is `None` if the request names none that can be read.
    #[must_use]
    #[inline]
    pub fn watch(&self, ctx: &Context, target: Option<&Target>) -> WatchedRequest {
        let monitor = &self.0.monitor;
        if !monitor.observes(Kind::ServerRequest) {
            return WatchedRequest::count(monitor);
        }
        let found = target.and_then(|target| self.0.routes.lookup(target));
        let route = found.map(RouteMatch::name);
        WatchedRequest::start(monitor, ctx, target, route)
    }

    /// Counts a request that is refused before it has a context, and observes it if an observer
    /// observes requests.
    ///
    /// `inbound` is what can be read of its head.
    #[must_use]
    pub fn watch_refused(&self, inbound: Inbound<'_>, target: Option<&Target>) -> WatchedRequest {
        if !self.0.monitor.observes(Kind::ServerRequest) {
            return WatchedRequest::count(&self.0.monitor);
        }
        let (ctx, _handle) = self.context(inbound);
        self.watch(&ctx, target)
    }

    /// Returns the monitor of this server, to report events.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.0.monitor
    }

    /// Returns the counts of the requests since the server was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.monitor.stats()
    }

    /// Handles one request in the context that [`Intake::context`] made for it.
    ///
    /// Refuses the request as `Rejected` if it has expired, is too large or has no responder, or if
    /// the server is draining, has too many requests in flight or holds too many body bytes.
    /// Otherwise runs the handler. Drops the handler at the deadline or when the context is
    /// cancelled, turns a panic into an error, and re-scopes errors. Nothing happens before the
    /// first poll.
    ///
    /// # Errors
    ///
    /// As described above. The delivery of an error is `Rejected` before the handler is entered,
    /// `Processed` afterwards, and `Unknown` while a bridge waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops the handler and releases the in-flight permit.
    pub fn handle<'a>(&'a self, ctx: &'a Context, request: Request) -> Handle<'a> {
        Handle::new(&self.0, ctx, request)
    }

    /// Announces a drain, while requests are still admitted; see [`IntakeConfig::lame_duck`].
    pub fn announce_drain(&self) {
        self.0.in_flight.announce_drain();
    }

    /// Returns whether a drain was announced or has begun: no new connections should come here.
    #[must_use]
    pub fn is_drain_announced(&self) -> bool {
        self.0.in_flight.is_drain_announced()
    }

    /// Returns whether load balancers should send requests here: no drain was announced, and every
    /// [readiness check](Routes::readiness_check) passes. Takes at most 1 s per run of the checks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the checks that it runs; the next caller runs them again.
    pub async fn readiness(&self) -> Readiness {
        if self.is_drain_announced() {
            return Readiness::Draining;
        }
        let failed = readiness::failed(self.0.routes.checks()).await;
        // A drain may have been announced while the checks ran.
        match () {
            () if self.is_drain_announced() => Readiness::Draining,
            () if failed.is_empty() => Readiness::Ready,
            () => Readiness::Unready(failed),
        }
    }

    /// Stops admission: from then on requests are refused as `draining`.
    pub fn drain(&self) {
        self.0.in_flight.drain();
    }

    /// Keeps admitting requests during a drain, until [`Intake::stop_admitting`].
    ///
    /// For transports over a broker: requests that the broker routed here before it learned of the
    /// drain cannot go elsewhere, and refusing them would fail calls that another member could have
    /// answered.
    pub fn admit_while_draining(&self) {
        self.0.in_flight.admit_while_draining(true);
    }

    /// Ends [`Intake::admit_while_draining`]: while draining, requests are refused again.
    pub fn stop_admitting(&self) {
        self.0.in_flight.admit_while_draining(false);
    }

    /// Returns whether a drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.in_flight.is_draining()
    }

    /// Returns the number of requests in flight plus that of shielded futures.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.in_flight()
    }

    /// Waits until no request and no shielded work is in flight.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn idle(&self) {
        self.0.in_flight.until_none(InFlight::in_flight).await;
    }

    /// Waits until no request is in flight; shielded work may still run.
    pub(crate) async fn no_requests(&self) {
        self.0.in_flight.until_none(InFlight::requests).await;
    }

    /// Cancels every request in flight, and every request that becomes pending later.
    pub fn cancel_all(&self, cause: Cause) {
        self.0.pending.cancel_all(cause);
    }

    /// Returns the counts of completed, aborted and refused requests since the drain began.
    #[must_use]
    pub fn report(&self) -> DrainReport {
        self.0.in_flight.report()
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

#[cfg(test)]
mod tests;
