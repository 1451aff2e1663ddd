//! What always holds, besides the assertions of a scenario.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::config::IntakeConfig;
use rr_core::dedup::Deduplicate;
use rr_core::{Error, IdempotencyKey, RequesterExt, Router};
use rr_testkit::worlds::{Fault, Network, Script, Worlds, WorldsReport};
use tokio::time::sleep;

use super::applications::support::within;
use super::exploration::{refused, serve, work};

/// Runs two calls with one key, at two instances that share a store, or have one each.
async fn two_calls(network: Network, shares_store: bool, apart: Duration) {
    let of_all = Deduplicate::in_process();
    network.serve_instances("payments", 2, move || {
        let of_instance = Deduplicate::in_process();
        let once = if shares_store { of_all.clone() } else { of_instance };
        Router::new().route("payments.charge", |_: u32| async { Ok::<_, Error>(()) }).with(once)
    });
    let (shop, key) = (network.client("shop", "payments"), IdempotencyKey::new("7").unwrap());
    for _ in 0..2 {
        shop.call::<()>(&within(5), "payments.charge", &7).keyed(key.clone()).await.unwrap();
        sleep(apart).await;
    }
}

fn twice(
    shares_store: bool,
    apart: Duration,
    allow: impl Fn(&Network) + Send + Sync + 'static,
) -> WorldsReport {
    Worlds::up_to(0).run(move |network| {
        allow(&network);
        two_calls(network, shares_store, apart)
    })
}

#[test]
fn a_keyed_request_that_runs_at_two_stores_is_a_counterexample() {
    let (soon, late) = (Duration::from_secs(1), Duration::from_secs(301));
    let report = twice(false, soon, |_| {});
    let text = "shop>payments/payments.charge#2 ran although shop>payments/payments.charge#1 had run \
                with the same key, and its replies state that duplicates are suppressed";
    refused(&report, text);
    assert!(twice(true, soon, |_| {}).is_complete());
    assert!(twice(false, soon, |network| network.allow_second_runs("payments")).is_complete());
    assert!(twice(false, late, |_| {}).is_complete(), "the key is forgotten after 5 minutes");
}

#[test]
fn keyed_requests_of_a_service_that_suppresses_nothing_may_run_twice() {
    let report = Worlds::up_to(0).run(|network| async move {
        network.serve("svc", || {
            Router::new().route("svc.work", |_: u32| async { Ok::<_, Error>(()) })
        });
        let (client, key) = (network.client("test", "svc"), IdempotencyKey::new("7").unwrap());
        for _ in 0..2 {
            client.call::<()>(&within(5), "svc.work", &7).keyed(key.clone()).await.unwrap();
        }
    });
    assert!(report.is_complete(), "{report}");
}

#[test]
fn an_empty_list_of_faults_is_not_complete() {
    let scenario = |network: Network| async move {
        serve(&network);
        let _ = work(&network).await;
    };
    let report = Worlds::up_to(1).with_faults([]).run(scenario);
    assert!(report.has_passed() && !report.is_complete(), "{report}");
    assert!(report.to_string().ends_with("no fault applies to its messages, so none was tried"));
    assert!(Worlds::up_to(0).with_faults([]).run(scenario).is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_an_instance_that_cannot_start_again_ends_its_other_calls() {
    let script: Script = "test>svc/svc.work#2=crashed".parse().unwrap();
    let network = Network::with(script);
    let starts = Arc::new(AtomicUsize::new(0));
    network.serve("svc", move || {
        let before = starts.fetch_add(1, Ordering::SeqCst);
        assert_eq!(before, 0, "the lock file is left");
        Router::new().route("svc.work", |(): ()| async {
            sleep(Duration::from_millis(10)).await;
            Ok::<_, Error>(0_usize)
        })
    });
    let (first, second) = tokio::join!(biased; work(&network), work(&network));
    assert!(first.is_err() && second.is_err(), "{}", network.trace());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_twice_is_not_called_rejected_while_one_copy_runs() {
    // The copy of the first call is refused while that call runs; so is the second call, which would
    // arrive again when nothing runs any more.
    for (nth, fault) in [(1, Fault::Duplicated), (2, Fault::Repeated)] {
        let script = Script::new().at("test", "svc", "svc.work", nth, fault);
        let (network, runs) = (Network::with(script), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&runs);
        let one = IntakeConfig::default().with_in_flight_max(1);
        network.serve_with("svc", one, move || {
            let runs = Arc::clone(&counted);
            Router::new().route("svc.work", move |(): ()| {
                runs.fetch_add(1, Ordering::SeqCst);
                async {
                    sleep(Duration::from_millis(10)).await;
                    Ok::<_, Error>(0_usize)
                }
            })
        });
        let outcomes: [_; 2] = tokio::join!(biased; work(&network), work(&network)).into();
        assert!(network.settle(Duration::from_secs(10)).await);
        let rejected = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(rejected, 1, "{fault}: {}", network.trace());
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{fault}: {}", network.trace());
    }
}
