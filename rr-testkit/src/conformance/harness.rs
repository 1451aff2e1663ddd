//! What a transport brings: a way to start it, and the running thing.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{DrainReport, Error, Requester, Routes, async_trait};

use super::{Capabilities, StartOptions};

/// Starts a transport for the suite, afresh for each case.
///
/// # Contract
///
/// * What [`Harness::start`] returns shares nothing with what it returned before: another port,
///   another prefix, another name.
/// * It adds nothing of its own: no retries, no middleware.
///
/// # For implementors
///
/// Everything is defaulted to the strictest: real time, nothing unsupported. See the example of
/// the [module](mod@crate::conformance).
///
/// # For wrappers
///
/// Delegate every method; a wrapper around the requester belongs into [`Rig::requester`] and
/// [`Rig::connect_again`].
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Names the transport in reports.
    fn name(&self) -> &str;

    /// Says what the transport cannot do; cases that need it are skipped.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Says on which clock the cases run.
    fn timing(&self) -> Timing {
        Timing::real()
    }

    /// Starts a server for `routes` and a requester that reaches it.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from starting; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing running.
    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error>;
}

/// A running server and requesters that reach it. Dropping it ends both.
///
/// # Contract
///
/// Requesters stay usable as values after [`Rig::stop`]: their calls then fail.
///
/// # For implementors
///
/// Control over the link (`kill_link`, `restore_link`) and a peer below the API (`raw`) will join
/// as provided methods that say "unsupported".
///
/// # For wrappers
///
/// Delegate every method.
#[async_trait]
pub trait Rig: Send + Sync + 'static {
    /// Returns the requester; every call of this method may return the same one.
    fn requester(&self) -> Arc<dyn Requester>;

    /// Makes another requester, with connections of its own where there are any.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from connecting; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error>;

    /// Drains the server and returns what became of its requests.
    ///
    /// It is called several times and from several tasks in some cases.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the drain.
    async fn stop(&self, grace: Duration) -> DrainReport;

    /// Returns what is alive at this moment, as far as the transport can tell.
    fn live(&self) -> Live {
        Live::default()
    }
}

/// On which clock the cases run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// One thread and tokio's paused clock, which jumps to the next timer when all is idle. For
    /// transports without sockets, threads or processes. The unit is 10 ms.
    Virtual,
    /// Two worker threads and the real clock.
    Real {
        /// What cases wait in multiples of.
        unit: Duration,
    },
}

impl Timing {
    /// Returns real time with units of 50 ms: far above the jitter of a loaded machine.
    #[must_use]
    pub const fn real() -> Self {
        Self::Real { unit: Duration::from_millis(50) }
    }

    /// Returns what cases wait in multiples of.
    #[must_use]
    pub const fn unit(self) -> Duration {
        match self {
            Self::Virtual => Duration::from_millis(10),
            Self::Real { unit } => unit,
        }
    }
}

/// What is alive in a rig; what the transport cannot tell is `None` and is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// Requests that the server handles, shielded work included.
    pub in_flight: Option<usize>,
    /// Calls that the requesters wait for.
    pub pending: Option<usize>,
    /// Open connections, both ends together.
    pub connections: Option<usize>,
}

impl Live {
    /// Sets the number of requests that the server handles.
    #[must_use]
    pub fn with_in_flight(mut self, requests: usize) -> Self {
        self.in_flight = Some(requests);
        self
    }

    /// Sets the number of calls that the requesters wait for.
    #[must_use]
    pub fn with_pending(mut self, calls: usize) -> Self {
        self.pending = Some(calls);
        self
    }

    /// Sets the number of open connections.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = Some(connections);
        self
    }

    /// Tells whether no request is in flight and no call pending, as far as is known.
    pub(crate) fn is_idle(self) -> bool {
        self.in_flight.unwrap_or(0) == 0 && self.pending.unwrap_or(0) == 0
    }
}
