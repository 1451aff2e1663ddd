//! The harness of a transport: starts the transport and selects the clock.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Error, Middleware, Routes, async_trait};

use super::{Capabilities, Rig, StartOptions, Typed};

/// Starts a new instance of a transport for each case.
///
/// # Contract
///
/// * The rigs returned by [`Harness::start`] share nothing: each has another port, prefix or name.
/// * The harness adds no retries and no middleware.
///
/// # For implementors
///
/// The defaults are the strictest: real time, and every capability of a transport supported. See
/// the example of the [module](mod@crate::conformance).
///
/// # For wrappers
///
/// Delegate every method. A wrapper around the requester belongs in [`Rig::requester`] and
/// [`Rig::connect_again`].
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Returns the name of the transport for reports.
    fn name(&self) -> &str;

    /// Returns the capabilities of the transport. Cases that need a missing one are skipped.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Returns the clock on which the cases run.
    fn timing(&self) -> Timing {
        Timing::real()
    }

    /// Starts a server for `routes` and a requester that reaches the server.
    ///
    /// # Errors
    ///
    /// Any error of starting; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing running.
    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error>;

    /// Returns typed calls, if the harness has a crate that provides them.
    fn typed(&self) -> Option<Typed> {
        None
    }

    /// Returns a middleware that suppresses duplicates, if the harness has a crate that provides
    /// one. Each middleware has a separate store that keeps answers for `ttl`. The suite wraps its
    /// routes in the middleware.
    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        let _ = ttl;
        None
    }
}

/// Clock on which the cases run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// One thread and tokio's paused clock, which jumps to the next timer when all tasks are idle.
    /// For transports without sockets, threads or processes. The unit is 10 ms.
    Virtual,
    /// Two worker threads and the real clock.
    Real {
        /// Unit of time: cases wait in multiples of it.
        unit: Duration,
    },
}

impl Timing {
    /// Returns real time with a unit of 50 ms, far above the jitter of a loaded machine.
    #[must_use]
    pub const fn real() -> Self {
        Self::Real { unit: Duration::from_millis(50) }
    }

    /// Returns the unit of time, in multiples of which cases wait.
    #[must_use]
    pub const fn unit(self) -> Duration {
        match self {
            Self::Virtual => Duration::from_millis(10),
            Self::Real { unit } => unit,
        }
    }
}
