//! The conformance suite: one case per behaviour that every transport must have.
//!
//! The author of a transport, inside or outside of this workspace, implements [`Harness`] and runs
//! every case with one line. Each case becomes a `#[test]` in a module named after its group:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use rr_spi::{CallConfig, DrainReport, Error, Intake, Requester, Routes, async_trait};
//! use rr_testkit::conformance::{Capabilities, Harness, Live, Rig, StartOptions, Timing};
//! use rr_testkit::{Loopback, loopback_with};
//!
//! struct Memory;
//!
//! #[async_trait]
//! impl Harness for Memory {
//!     fn name(&self) -> &str {
//!         "memory"
//!     }
//!
//!     fn capabilities(&self) -> Capabilities {
//!         let there = Capabilities::default().with_link(false).with_cut(false);
//!         there.with_raw(false).with_restart(false)
//!     }
//!
//!     fn timing(&self) -> Timing {
//!         Timing::Virtual
//!     }
//!
//!     async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
//!         Ok(Box::new(Running(loopback_with(routes, options.server, options.calls))))
//!     }
//! }
//!
//! struct Running(Loopback);
//!
//! #[async_trait]
//! impl Rig for Running {
//!     fn requester(&self) -> Arc<dyn Requester> {
//!         Arc::new(self.0.requester())
//!     }
//!
//!     async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
//!         Ok(self.requester())
//!     }
//!
//!     async fn stop(&self, grace: Duration) -> DrainReport {
//!         self.0.server().shutdown(grace).await
//!     }
//!
//!     fn live(&self) -> Live {
//!         Live::default().with_in_flight(self.0.server().in_flight())
//!     }
//! }
//!
//! rr_testkit::conformance!(Memory);
//!
//! // Or run all cases without stopping at the first failure:
//! use rr_testkit::conformance::{Plan, run};
//! let report = run(Memory, &Plan::v1().only("round_trip/*"));
//! println!("{report}");
//! report.assert();
//! ```
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | start your transport for the suite | [`Harness`], [`Rig`], [`StartOptions`] |
//! | emulate a foreign peer on its wire | [`Raw`], [`RawRequest`], [`RawReply`], [`RawGarbage`] |
//! | provide typed calls | [`Typed`] |
//! | provide a middleware that suppresses duplicates | [`Harness::dedup`] |
//! | declare unsupported capabilities | [`Capabilities`] |
//! | run it in virtual or in real time | [`Timing`] |
//! | leave out a case, or expect it to fail | [`Plan`] |
//! | know what a failing case means for the run | [`Level`] |
//! | read the results of a run | [`Report`], [`Outcome`] |
//! | show the results in a README | [`Card`], [`check_cards`] |
//! | list all cases | [`cases`] |
//! | run the delivery group in every world of up to k faults | `every_world` (feature `worlds`) |
//!
//! # Checks in every case
//!
//! The [`Lab`] counts how often each request ran. Any case fails when an error reports `NotSent` or
//! `Rejected` for a request that ran, when a request runs twice, or when a request that never ran
//! is answered. With an idempotency key, all calls of a request together run at most once. A case
//! that a plan lists as known to fail is a failure too when an error reports `NotSent` or
//! `Rejected` for a request that ran.
//!
//! # Skips
//!
//! A case is skipped for one of two reasons, and both are stated in the test file: the harness does
//! not claim the [`Capability`] that the case needs, or the [`Plan`] names the case with a reason.
//! The following are failures: an entry in the plan without a reason, a plan that names a case that
//! does not exist, a run without any case, and a case that passes although the plan lists it as
//! failing.
//!
//! # Seeds
//!
//! `delivery/never_claims_unrun_when_counter_moved` draws its calls and faults from a seed, and
//! `errors/garbage_harms_nobody` draws its bytes from one. Each run takes a fresh seed. A failure
//! prints the seed; set `RR_CONFORMANCE_SEED` to repeat the run.
//!
//! # Not yet in the plan
//!
//! | case | waits for |
//! |---|---|
//! | rigs over TLS and over unix sockets | certificates and paths that a rig can create |

/// Declares public setters that take and return `self`.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($arg:ident: $Given:ty) sets $field:ident = $value:expr;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $arg: $Given) -> Self {
            self.$field = $value;
            self
        }
    )*};
}

mod capabilities;
mod card;
mod cases;
mod chaos;
mod cuts;
#[cfg(feature = "worlds")]
mod every_world;
mod harness;
mod lab;
mod ledger;
mod list;
mod options;
mod plan;
mod raw;
mod report;
mod rig;
mod runner;
mod stage;
mod stopwatch;
mod typed;

pub use capabilities::{Capabilities, Capability};
pub use card::{Card, check_cards};
#[cfg(feature = "worlds")]
pub use every_world::{WrappedTransport, Wrapper, every_world};
pub use harness::{Harness, Timing};
pub use lab::Lab;
pub use list::{Case, Level, cases};
pub use options::StartOptions;
pub use plan::Plan;
pub use raw::{Raw, RawAnswer, RawGarbage, RawReply, RawRequest, RawUnread};
pub use report::{Outcome, Report, Row};
pub use rig::{Live, Rig};
pub use runner::{check, check_plan, run, run_case};
pub use typed::{Parcel, Refusal, Typed};
