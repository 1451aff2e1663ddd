//! What a transport brings: a way to start it, and its clock.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Error, Middleware, Routes, async_trait};

use super::{Capabilities, Rig, StartOptions, Typed};

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
/// Everything is defaulted to the strictest: real time, nothing of the transport unsupported. See the example of
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

    /// Returns typed calls, where the harness has a crate that makes them.
    fn typed(&self) -> Option<Typed> {
        None
    }

    /// Returns a middleware that suppresses duplicates, with a store of its own that keeps answers
    /// for `ttl`, where the harness has a crate that has one. The suite puts it around its routes.
    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        let _ = ttl;
        None
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
