//! The delivery group in every world of up to k faults.

mod scenarios;
mod simulation;

use std::sync::Arc;

use rr_spi::{Requester, Routes};

use crate::worlds::{Worlds, WorldsReport};

use scenarios::SCENARIOS;
use simulation::Simulation;

/// Wrapper of a transport: of its requesters and of the routes that its servers answer.
///
/// # Contract
///
/// A wrapper starts without state: [`every_world`] makes one for each world.
///
/// # For implementors
///
/// Both methods wrap nothing by default. [`Wrapper::routes`] is called again whenever a server
/// starts again after a crash: what it makes is lost in a crash, and what the wrapper holds is kept.
///
/// # For wrappers
///
/// Delegate both methods.
pub trait Wrapper: Send + Sync + 'static {
    /// Wraps the requester of one client.
    fn requester(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
        inner
    }

    /// Wraps the routes of one server.
    fn routes(&self, routes: Routes) -> Routes {
        routes
    }
}

/// Wraps nothing.
impl Wrapper for () {}

/// Runs the scenarios of the delivery group in every world of up to k faults, and returns the
/// smallest world in which a caller is told something else than what ran.
///
/// The transport is rr's simulated network, which carries requests and replies in the wire form of
/// every transport, inside a wrapper. The scenarios call in sequence, concurrently, over two hops,
/// repeatedly after errors, and during a drain. Their calls have each idempotency, and their handlers
/// answer, wait, fail and shield work.
///
/// After each world the outcome of each call is compared with the runs that the [`Lab`](super::Lab)
/// recorded:
///
/// * an error with `NotSent` or `Rejected` is false if the request ran,
/// * an answer, or an error with `Processed`, is false if the request did not run,
/// * a request runs at most once for each call that may have run, unless a fault repeated its message,
/// * an answer belongs to its call,
/// * a call ends at most 50 ms after its deadline.
///
/// `make` makes the wrapper of one world. A transport that wraps nothing passes with `|| ()`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use rr_spi::{Context, Delivery, Error, Request, Requester, Response, async_trait};
/// use rr_testkit::conformance::{Wrapper, every_world};
/// use rr_testkit::worlds::Worlds;
///
/// /// Says that a call whose connection broke was not sent.
/// struct Optimist(Arc<dyn Requester>);
///
/// #[async_trait]
/// impl Requester for Optimist {
///     async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
///         let outcome = self.0.request(ctx, request).await;
///         outcome.map_err(|error| {
///             let (code, reason) = (error.code(), error.reason().cloned());
///             Error::failure(code, Delivery::NotSent, reason, "the connection broke")
///         })
///     }
/// }
///
/// struct Optimistic;
///
/// impl Wrapper for Optimistic {
///     fn requester(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
///         Arc::new(Optimist(inner))
///     }
/// }
///
/// let report = every_world(Worlds::up_to(1), || Optimistic);
/// let found = report.counterexample().expect("it lies");
/// assert!(found.wrong().contains("its caller was told"), "{report}");
///
/// let report = every_world(Worlds::up_to(1), || ());
/// assert!(report.is_complete(), "{report}");
/// ```
///
/// # Panics
///
/// When the variable `RR_WORLD` has no script; see [`Worlds::check`].
pub fn every_world<W: Wrapper>(
    worlds: Worlds,
    make: impl Fn() -> W + Send + Sync + 'static,
) -> WorldsReport {
    let make = Arc::new(make);
    let mut report = WorldsReport::default();
    for scenario in SCENARIOS {
        // A smaller world than the one that was found may still break another scenario.
        let worlds = match report.counterexample().map(|found| found.script().len()) {
            None => worlds.clone(),
            Some(0) => break,
            Some(faults) => worlds.clone().below(faults),
        };
        let make = Arc::clone(&make);
        let run = worlds.run(move |network| {
            let simulation = Simulation::new(network, Arc::new(make()));
            async move {
                scenario(&simulation).await;
                simulation.check().await;
            }
        });
        report = report.merged(run);
    }
    report
}
