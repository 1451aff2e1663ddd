//! Plans and reports: skips are told, stale expectations fail, and nothing run is no success.

#![cfg(feature = "conformance")]

use std::sync::Arc;
use std::time::Duration;

use crate::support;
use rr_spi::{
    Context, Delivery, DrainReport, Error, Request, Requester, Response, Routes, async_trait,
};
use rr_testkit::conformance::{
    Capabilities, Harness, Outcome, Plan, Rig, StartOptions, Timing, cases, check, check_plan, run,
    run_case,
};

/// The in-memory transport, said to be unable to drain.
struct Undrained;

#[async_trait]
impl Harness for Undrained {
    fn name(&self) -> &str {
        "undrained"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_drain(false)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        support::Memory.start(routes, options).await
    }
}

#[test]
fn a_missing_capability_skips_and_says_so() {
    let report = run(Undrained, &Plan::v1().only("drain/*").only("size/one_byte"));
    let drains = cases().iter().filter(|case| case.group() == "drain").count();
    assert_eq!((report.ran(), report.skipped()), (1, drains));
    report.assert();
    let text = report.to_string();
    assert!(text.contains("skipped  drain/stop_twice: the transport lacks the capability `drain`"));
}

#[test]
#[should_panic(expected = "no case ran")]
fn nothing_run_is_a_failure() {
    run(Undrained, &Plan::v1().only("drain/*")).assert();
}

#[test]
fn a_known_failure_that_passes_is_a_failure() {
    let plan = Plan::v1().only("size/one_byte").known_failing("size/*", "issue 12");
    let report = run(support::Memory, &plan);
    assert!(matches!(&report.rows[0].outcome, Outcome::Failed(text) if text.contains("issue 12")));
}

#[test]
fn a_stated_skip_is_told_with_its_reason() {
    let plan = Plan::v1().only("size/one_byte").skip("size/one_byte", "for the test");
    let report = run(support::Memory, &plan);
    assert_eq!(report.rows[0].outcome, Outcome::Skipped("for the test".into()));
}

#[test]
#[should_panic(expected = "does not exist")]
fn a_misspelt_case_is_a_failure() {
    check(support::Memory, &Plan::v1().skip("size/one_bite", "why"), "size/one_byte");
}

#[test]
fn names_are_unique() {
    let names: std::collections::BTreeSet<String> = cases().iter().map(|c| c.name()).collect();
    assert_eq!(names.len(), cases().len());
    assert!(names.contains("size/65535_65536_65537"));
}

#[test]
#[should_panic(expected = "without a reason")]
fn a_skip_without_a_reason_is_a_failure() {
    check(support::Memory, &Plan::v1().skip("size/*", ""), "drain/stop_twice");
}

/// Claims control over the link, and has none.
struct Linkless;

struct LinklessRig(Box<dyn Rig>);

#[async_trait]
impl Harness for Linkless {
    fn name(&self) -> &str {
        "linkless"
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        Ok(Box::new(LinklessRig(support::Memory.start(routes, options).await?)))
    }
}

#[async_trait]
impl Rig for LinklessRig {
    fn requester(&self) -> Arc<dyn Requester> {
        self.0.requester()
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        self.0.connect_again().await
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.0.stop(grace).await
    }
}

#[test]
fn a_capability_that_is_claimed_and_not_there_is_a_failure() {
    for (case, capability) in [
        ("reconnect/pending_all_resolve", "`link`"),
        ("reconnect/server_restart_same_address", "`restart`"),
        ("deadline/expired_on_arrival_does_not_run", "`raw`"),
        ("delivery/cut_within_a_request", "`cut`"),
    ] {
        let Outcome::Failed(text) = run_case(Linkless, case) else { panic!("{case} passes") };
        assert!(text.contains(capability) && text.contains("claimed"), "{text}");
    }
}

#[test]
fn typed_calls_that_are_claimed_and_not_there_are_a_failure() {
    struct Untyped;

    #[async_trait]
    impl Harness for Untyped {
        fn name(&self) -> &str {
            "untyped"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::default().with_typed(true)
        }

        fn timing(&self) -> Timing {
            Timing::Virtual
        }

        async fn start(
            &self,
            routes: Routes,
            options: StartOptions,
        ) -> Result<Box<dyn Rig>, Error> {
            support::Memory.start(routes, options).await
        }
    }

    let outcome = run_case(Untyped, "round_trip/typed_equals_raw");
    assert!(matches!(&outcome, Outcome::Failed(text) if text.contains("`typed` is claimed")));
}

#[test]
fn a_plan_that_leaves_nothing_to_run_is_a_failure() {
    let checked = |plan: Plan| std::panic::catch_unwind(|| check_plan(&support::Memory, &plan));
    assert!(checked(Plan::v1().skip("*", "later")).is_err());
    assert!(checked(Plan::v1().only("idempotency/replay")).is_err(), "the capability is missing");
    assert!(checked(Plan::v1().only("size/one_byte")).is_ok());
}

/// The in-memory transport, with a task that outlives each rig.
struct Littering;

#[async_trait]
impl Harness for Littering {
    fn name(&self) -> &str {
        "littering"
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        tokio::spawn(std::future::pending::<()>());
        support::Memory.start(routes, options).await
    }
}

/// A case that should hold.
const SHOULD: &str = "leak/no_task_outlives";

#[test]
#[should_panic(expected = "leak/no_task_outlives over littering")]
fn a_case_that_should_hold_and_does_not_is_a_failure() {
    check(Littering, &Plan::v1(), SHOULD);
}

#[test]
fn a_case_that_should_hold_may_be_listed_as_known_to_fail_or_be_warned_of() {
    check(Littering, &Plan::v1().known_failing(SHOULD, "issue 12"), SHOULD);
    check(Littering, &Plan::v1().lenient(), SHOULD);

    let only = Plan::v1().only(SHOULD);
    let strict = run(Littering, &only);
    assert_eq!(strict.failures().count(), 1);
    assert!(strict.to_string().contains("FAILED  leak/no_task_outlives"), "{strict}");
    assert!(strict.to_json().contains("\"warned\": 0"), "{}", strict.to_json());
    let failed = "\nFailed:\n\n* these should hold: `leak/no_task_outlives`\n";
    assert!(strict.to_markdown().contains(failed), "{}", strict.to_markdown());

    let lenient = run(Littering, &only.lenient());
    lenient.assert();
    assert!(lenient.to_string().contains("warning  leak/no_task_outlives"), "{lenient}");
    assert!(lenient.to_json().contains("\"warned\": 1"), "{}", lenient.to_json());
    let warned = "* these should hold, and do not: `leak/no_task_outlives`\n";
    assert!(lenient.to_markdown().contains(warned), "{}", lenient.to_markdown());
}

#[test]
#[should_panic(expected = "known to fail")]
fn a_case_that_should_hold_and_is_wrongly_listed_is_a_failure_too() {
    check(support::Memory, &Plan::v1().known_failing(SHOULD, "issue 12"), SHOULD);
}

/// The in-memory transport, whose requester says of a panic that the handler did not run.
struct Lying;

struct LyingRig(Box<dyn Rig>);

struct LyingRequester(Arc<dyn Requester>);

#[async_trait]
impl Harness for Lying {
    fn name(&self) -> &str {
        "lying"
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        Ok(Box::new(LyingRig(support::Memory.start(routes, options).await?)))
    }
}

#[async_trait]
impl Rig for LyingRig {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(LyingRequester(self.0.requester()))
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(LyingRequester(self.0.connect_again().await?)))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.0.stop(grace).await
    }
}

#[async_trait]
impl Requester for LyingRequester {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        self.0.request(ctx, request).await.map_err(|error| {
            Error::failure(error.code(), Delivery::NotSent, None, "nothing was sent")
        })
    }
}

#[test]
fn no_known_failure_excuses_an_error_that_says_not_sent_of_a_call_that_ran() {
    const PANIC: &str = "panic/becomes_internal";
    let plan = Plan::v1().only(PANIC).known_failing(PANIC, "issue 12");
    let report = run(Lying, &plan);
    let Outcome::Failed(text) = &report.rows[0].outcome else { panic!("{report}") };
    assert!(text.contains("ran 1 times, and an error said NotSent or Rejected"), "{text}");
}
