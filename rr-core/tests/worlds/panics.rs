//! Panics outside of the scenario itself.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Error, Router};
use rr_testkit::worlds::{Worlds, WorldsReport};
use tokio::time::sleep;

use super::exploration::{refused, work};

#[test]
fn a_report_tells_the_panics_of_handlers_and_tasks() {
    let report = Worlds::up_to(0).run(|network| async move {
        network.serve("svc", || {
            Router::new().route("svc.work", |(): ()| async {
                tokio::spawn(async { panic!("the outbox is full") });
                sleep(Duration::from_millis(1)).await;
                let orders = Vec::<usize>::new();
                Ok::<_, Error>(*orders.first().expect("an order has a number"))
            })
        });
        assert!(work(&network).await.is_ok(), "no work");
    });
    let found = report.counterexample().expect("the call fails");
    let panics: Vec<_> = found.panics().collect();
    let [task, handler] = &panics[..] else { panic!("{report}") };
    for (panic, message) in [(task, "the outbox is full"), (handler, "an order has a number")] {
        assert!(panic.starts_with("a panic at ") && panic.ends_with(message), "{panic}");
        assert!(panic.contains("panics.rs:") && report.to_string().contains(panic), "{report}");
    }
    assert_eq!(found.wrong(), "no work");
    assert!(report.to_string().contains("the caller got internal (processed) panic\n"), "{report}");
}

/// Runs a scenario whose handler spawns a task that panics, and does not await the task.
fn with_panicking_task(is_allowed: bool) -> WorldsReport {
    Worlds::up_to(0).run(move |network| async move {
        if is_allowed {
            network.allow_task_panics();
        }
        network.serve("svc", || {
            Router::new().route("svc.work", |(): ()| async {
                tokio::spawn(async { panic!("the outbox is full") });
                Ok::<_, Error>(1_usize)
            })
        });
        assert!(work(&network).await.is_ok());
    })
}

#[test]
fn a_task_that_panics_is_a_counterexample_unless_it_is_allowed() {
    let report = with_panicking_task(false);
    refused(&report, "the scenario fails without any fault: a task panicked: the outbox is full");
    assert_eq!(report.counterexample().map(|found| found.panics().count()), Some(1));
    assert!(with_panicking_task(true).is_complete());
}

#[test]
fn a_handler_that_panics_is_no_counterexample() {
    let report = Worlds::up_to(0).run(|network| async move {
        network.serve("svc", || {
            Router::new().route("svc.work", |(): ()| async {
                sleep(Duration::from_millis(1)).await;
                let orders = Vec::<usize>::new();
                Ok::<_, Error>(*orders.first().expect("no such order"))
            })
        });
        assert!(work(&network).await.is_err());
    });
    assert!(report.is_complete(), "{report}");
}

#[test]
fn a_value_that_panics_when_it_is_dropped_is_a_counterexample_and_no_hang() {
    struct Brittle;

    impl Drop for Brittle {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "the pool is not empty");
        }
    }

    let report =
        Worlds::up_to(1).with_world_time_max(Duration::from_secs(600)).run(|network| async move {
            network.serve("svc", || {
                let pool = Arc::new(Brittle);
                Router::new().route("svc.work", move |(): ()| {
                    let _pool = Arc::clone(&pool);
                    async { Ok::<_, Error>(1_usize) }
                })
            });
            assert!(work(&network).await.is_ok());
        });
    let text = "a value of a service panicked when it was dropped: the pool is not empty";
    refused(&report, text);
}
