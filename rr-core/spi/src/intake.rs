//! The server side's rules for every request, used by every transport's server.

mod budget;
mod config;
mod handle;
mod in_flight;
mod rescope;

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::context::{CancelHandle, Cause, Context, Data, Deadline};
use crate::error::Error;
use crate::request::Request;
use crate::routes::{Found, Routes};
use crate::server::DrainReport;
use crate::target::Target;

pub use budget::{BodyAccount, BodyBudget, BodyShare};
pub use config::{Inbound, IntakeConfig};
pub use handle::Handle;
pub use rescope::{rescope, rescope_called};

pub(crate) use in_flight::{InFlight, Shielded};
pub(crate) use rescope::own;

/// The server side's rules for every request: routes, admission, deadlines, panics, drain.
///
/// Cloning it shares it. A transport makes the context of a request when its head has arrived,
/// with [`Intake::context`], and hands the whole request to [`Intake::handle`].
#[derive(Clone)]
pub struct Intake(Arc<Shared>);

struct Shared {
    routes: Routes,
    config: IntakeConfig,
    in_flight: Arc<InFlight>,
    bodies: BodyBudget,
    /// Of the requests that no transport has charged to a connection.
    account: Arc<BodyAccount>,
}

impl Intake {
    /// Makes an intake for these routes.
    #[must_use]
    pub fn new(routes: impl Into<Routes>, config: IntakeConfig) -> Self {
        let bodies = BodyBudget::new(config.bodies_bytes_max);
        let account = bodies.whole();
        let (routes, in_flight) = (routes.into(), Arc::default());
        Self(Arc::new(Shared { routes, config, in_flight, bodies, account }))
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

    /// Returns the budget of the bodies that the server holds.
    ///
    /// [`Intake::handle`] counts a request while its handler runs. A transport that holds bodies
    /// before, or replies after, takes them out of this budget too: see [`Handle::charged`].
    #[must_use]
    pub fn bodies(&self) -> &BodyBudget {
        &self.0.bodies
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
    /// A handle that is dropped before the handler lets the handler's own drops see why.
    pub fn context(&self, inbound: Inbound<'_>) -> (Context, CancelHandle) {
        let now = inbound.arrived.unwrap_or_else(Instant::now);
        let deadline = Deadline::after_at(now, self.0.config.grant(inbound.timeout));
        let data = Data::receive(
            inbound.request_id,
            inbound.traceparent,
            inbound.tracestate,
            inbound.baggage,
        );
        Context::for_inbound(deadline, inbound.retries, data, Arc::clone(&self.0.in_flight))
    }

    /// Handles one request in the context that [`Intake::context`] made for it.
    ///
    /// Refuses it, as `Rejected`, when it has expired, is too large, has no responder, when the
    /// server drains, has too many in flight, or holds too many bytes of bodies. Runs the handler otherwise; drops it at the
    /// deadline or when the context is cancelled; turns a panic into an error; re-scopes errors.
    /// Nothing happens before the first poll.
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
        Handle::new(&self.0, ctx, request)
    }

    /// Stops admission: from now on requests are refused as `draining`.
    pub fn drain(&self) {
        self.0.in_flight.drain();
    }

    /// Lets a drain go on admitting until [`Intake::refuse`].
    ///
    /// For transports over a broker: what it has routed here before it knew of the drain can go
    /// nowhere else, and refusing it would fail calls that another member could have answered.
    pub fn linger(&self) {
        self.0.in_flight.linger(true);
    }

    /// Ends [`Intake::linger`]: while draining, requests are refused again.
    pub fn refuse(&self) {
        self.0.in_flight.linger(false);
    }

    /// Tells whether a drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.in_flight.is_draining()
    }

    /// Returns how much is in flight: requests, and the work that they shielded.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.in_flight()
    }

    /// Waits until nothing is in flight, shielded work included.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn idle(&self) {
        self.0.in_flight.until_none(InFlight::in_flight).await;
    }

    /// Waits until no request is in flight, whatever shielded work goes on.
    pub(crate) async fn no_requests(&self) {
        self.0.in_flight.until_none(InFlight::requests).await;
    }

    /// Cancels every request in flight, and every one that becomes pending later.
    pub fn cancel_all(&self, cause: Cause) {
        self.0.in_flight.cancel_all(cause);
    }

    /// Returns what has become of the requests since the drain began.
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
