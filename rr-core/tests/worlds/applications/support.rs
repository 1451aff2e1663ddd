//! What the applications share: data that a crash keeps, contexts, and the two outcomes of a test.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::Context;
use rr_testkit::worlds::{Network, Worlds, WorldsReport};

/// Data in a database: a crash of the service keeps it.
pub(super) type Kept<T> = Arc<Mutex<T>>;

/// Makes a context that ends after some seconds.
pub(crate) fn within(seconds: u64) -> Context {
    Context::background().with_timeout(Duration::from_secs(seconds))
}

/// Waits until nothing is in flight: a request may arrive when its caller has given up.
pub(super) async fn settle(network: &Network) {
    network.settle(Duration::from_secs(60)).await;
}

/// Runs a scenario in every world of two faults, with the mistake or without. Checks that those that
/// are left out, as they are equal to another, would change nothing; not for the largest scenarios,
/// which take long enough once.
pub(crate) fn explore<F, S>(is_right: bool, scenario: F) -> WorldsReport
where
    F: Fn(Network, bool) -> S + Send + Sync + 'static,
    S: Future<Output = ()>,
{
    let (scenario, worlds) = (Arc::new(scenario), Worlds::up_to(2));
    let run = |worlds: Worlds| {
        let scenario = Arc::clone(&scenario);
        worlds.run(move |network| scenario(network, is_right))
    };
    let report = run(worlds.clone());
    if report.explored() > 800 {
        return report;
    }
    let all = run(worlds.with_equal_worlds());
    let found = |report: &WorldsReport| {
        report.counterexample().map(|found| (found.script().clone(), found.wrong().to_owned()))
    };
    assert_eq!(found(&report), found(&all));
    if report.has_passed() {
        assert_eq!(report.explored() + report.equal(), all.explored(), "{report}");
    }
    report
}

/// Asserts that the smallest counterexample has these faults and this message.
#[track_caller]
pub(super) fn assert_found(report: &WorldsReport, script: &str, wrong: &str) {
    let found = report.counterexample().expect("the mistake is found");
    assert_eq!((found.script().to_string().as_str(), found.wrong()), (script, wrong), "{report}");
}

/// Asserts that every world was run and passed, and that every fault struck.
#[track_caller]
pub(super) fn assert_passes(report: &WorldsReport) {
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.unfired(), 0, "{report}");
    println!("{report}");
}
