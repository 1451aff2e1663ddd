//! The conformance suite: what every transport must do, case by case.
//!
//! A transport, ours or a stranger's, writes a [`Harness`] and runs every case with one line. Each
//! case becomes a `#[test]` of its own, in a module named after its group:
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
//! // Or all at once, without stopping at the first failure:
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
//! | let a foreign peer speak its wire | [`Raw`], [`RawRequest`], [`RawReply`], [`RawGarbage`] |
//! | bring typed calls | [`Typed`] |
//! | bring a middleware that suppresses duplicates | [`Harness::dedup`] |
//! | say what it cannot do | [`Capabilities`] |
//! | run it in virtual or in real time | [`Timing`] |
//! | leave out a case, or expect it to fail | [`Plan`] |
//! | know what a failing case means for the run | [`Level`] |
//! | read what came out | [`Report`], [`Outcome`] |
//! | show it in a README | [`Card`], [`check_cards`] |
//! | know every case | [`cases`] |
//!
//! # What every case checks besides its own matter
//!
//! The [`Lab`] counts how often each request ran. An error that says `NotSent` or `Rejected` for
//! a request that ran, a request that ran twice, and an answer to a request that never ran fail
//! whatever case they happen in. With an idempotency key, all calls of a request run once.
//!
//! # Skips
//!
//! A case is left out for one of two reasons, and both stand in the test file: the harness does not
//! claim the [`Capability`] that the case needs, or the [`Plan`] names the case and says why. A plan
//! without a reason, a plan of cases that do not exist, a run without any case, and a case that
//! passes though it is listed as failing are failures.
//!
//! # Seeds
//!
//! `delivery/never_claims_unrun_when_counter_moved` draws its calls and its faults from a seed, and
//! `errors/garbage_harms_nobody` its bytes, a fresh one each time. A failure prints it;
//! `RR_CONFORMANCE_SEED` repeats it.
//!
//! # Not yet in the plan
//!
//! | case | waits for |
//! |---|---|
//! | rigs over TLS and over unix sockets | certificates and paths that a rig can make for itself |

mod capabilities;
mod card;
mod cases;
mod chaos;
mod cuts;
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
