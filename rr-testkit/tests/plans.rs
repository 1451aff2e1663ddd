//! Plans and reports: skips are told, stale expectations fail, and nothing run is no success.

#![cfg(feature = "conformance")]

mod support;

use rr_spi::{Error, Routes, async_trait};
use rr_testkit::conformance::{
    Capabilities, Harness, Outcome, Plan, Rig, StartOptions, Timing, cases, check, run,
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
    assert_eq!((report.ran(), report.skipped()), (1, 6));
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
