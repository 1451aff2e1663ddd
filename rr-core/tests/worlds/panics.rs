//! Panics outside of the scenario itself.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Error, Router};
use rr_testkit::worlds::Worlds;
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
