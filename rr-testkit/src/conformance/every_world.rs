//! Calls of the delivery group in every world of up to k faults.

mod book;
mod memory;
mod scenarios;
mod simulation;

use std::sync::Arc;

use rr_spi::{Requester, Routes};

use crate::worlds::{Fault, Worlds, WorldsReport};

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
/// The default methods return the simulated network, and every requester and all routes as they are.
/// [`Wrapper::routes`] is called again whenever a server starts again after a crash: what the method
/// makes is lost in a crash, and what the wrapper holds is kept.
///
/// # For wrappers
///
/// Delegate every method.
pub trait Wrapper: Send + Sync + 'static {
    /// Returns the transport that is wrapped.
    fn transport(&self) -> WrappedTransport {
        WrappedTransport::default()
    }

    /// Wraps the requester of one client.
    fn requester(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
        inner
    }

    /// Wraps the routes of one server.
    fn routes(&self, routes: Routes) -> Routes {
        routes
    }
}

/// Leaves the simulated network as it is.
impl Wrapper for () {}

/// Transport that a [`Wrapper`] wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrappedTransport {
    /// The simulated [`Network`](crate::worlds::Network). It has every fault, and carries requests
    /// and replies in the wire form of every transport. The default.
    #[default]
    Network,
    /// The in-memory transport. It has the faults [`ConnectFails`](Fault::ConnectFails),
    /// [`RequestLost`](Fault::RequestLost), [`ReplyLost`](Fault::ReplyLost),
    /// [`BrokenAfter`](Fault::BrokenAfter) and [`Reset`](Fault::Reset); no other fault is tried.
    Memory,
}

impl WrappedTransport {
    /// Returns the faults that the transport has.
    fn faults(self) -> &'static [Fault] {
        match self {
            Self::Network => &Fault::ALL,
            Self::Memory => &memory::FAULTS,
        }
    }
}

/// Runs the scenarios of the delivery group in every world of up to k faults, and returns the smallest
/// world in which the outcome of a call contradicts the runs of its handler.
///
/// The transport is a [`WrappedTransport`] inside a wrapper. The scenarios call in sequence,
/// concurrently, over two hops, repeatedly after errors, and during a drain. Their calls have each
/// idempotency, and their handlers answer, wait, fail and shield work.
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
/// `make` makes the wrapper of one world. Without a wrapper, `|| ()`, every world passes.
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
/// When the variable `RR_WORLD` holds a malformed script; see [`Worlds::check`].
pub fn every_world<W: Wrapper>(
    worlds: Worlds,
    make: impl Fn() -> W + Send + Sync + 'static,
) -> WorldsReport {
    let transport = make().transport();
    let mut worlds = worlds.within(transport.faults());
    if transport == WrappedTransport::Memory {
        // The network does not see the runs of another transport, so it cannot tell worlds apart.
        worlds = worlds.with_equal_worlds();
    }
    let make = Arc::new(make);
    let mut report = WorldsReport::default();
    for scenario in SCENARIOS {
        // Another scenario may break in a smaller world than the one that was found.
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
