//! Differences between the carriers, each by one fault.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::{
    Code, Context, Delivery, Error, Idempotency, IdempotencyKey, Reason, Request, Requester,
    RequesterExt, Router,
};
use rr_testkit::worlds::{Fault, Network, Profile, Script, Worlds};
use tokio::time::{Instant, sleep, timeout};

/// Virtual times, in milliseconds, at which handlers of `svc.work` ended: with an answer, or dropped.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<(Vec<u128>, Vec<u128>)>>);

impl Ends {
    fn answered(&self) -> Vec<u128> {
        self.0.lock().unwrap().0.clone()
    }

    fn dropped(&self) -> Vec<u128> {
        self.0.lock().unwrap().1.clone()
    }
}

struct Run {
    ends: Ends,
    began: Instant,
    has_answered: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        let (at, mut ends) = (self.began.elapsed().as_millis(), self.ends.0.lock().unwrap());
        if self.has_answered { ends.0.push(at) } else { ends.1.push(at) }
    }
}

/// Serves `svc.work`, which waits for so many milliseconds, behind a link of 20 ms.
fn serve(profile: Profile, script: Script) -> (Network, Ends) {
    let (network, ends, began) = (Network::with(script), Ends::default(), Instant::now());
    network.set_profile("svc", profile);
    network.set_latency("test", "svc", Duration::from_millis(20));
    let kept = ends.clone();
    network.serve("svc", move || {
        let ends = kept.clone();
        Router::new().route("svc.work", move |millis: u64| {
            let ends = ends.clone();
            async move {
                let mut run = Run { ends, began, has_answered: false };
                sleep(Duration::from_millis(millis)).await;
                run.has_answered = true;
                drop(run);
                Ok::<_, Error>(())
            }
        })
    });
    (network, ends)
}

async fn work(network: &Network, millis: u64) -> Result<(), Error> {
    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    Ok(network.client("test", "svc").call(&ctx, "svc.work", &millis).await?)
}

fn told(outcome: Result<(), Error>) -> (Code, Delivery) {
    let error = outcome.expect_err("the call fails");
    (error.code(), error.delivery())
}

fn first(fault: Fault) -> Script {
    Script::new().at("test", "svc", "svc.work", 1, fault)
}

const LOST: (Code, Delivery) = (Code::Unavailable, Delivery::Unknown);
const LATE: (Code, Delivery) = (Code::DeadlineExceeded, Delivery::Unknown);

#[tokio::test(start_paused = true)]
async fn a_handler_learns_that_its_caller_has_left_one_latency_later() {
    for (profile, at) in
        [(Profile::Memory, 100), (Profile::Http1, 120), (Profile::Http2, 120), (Profile::Nats, 120)]
    {
        let (network, ends) = serve(profile, Script::new());
        timeout(Duration::from_millis(100), work(&network, 1000)).await.unwrap_err();
        assert!(network.settle(Duration::from_secs(5)).await);
        assert_eq!((ends.answered(), ends.dropped()), (vec![], vec![at]), "{profile:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_the_handlers_over_http_and_not_over_nats() {
    for (profile, answered, dropped) in
        [(Profile::Http2, vec![], vec![20, 20]), (Profile::Nats, vec![70, 70], vec![])]
    {
        let script = Script::new().at("test", "svc", "svc.work", 2, Fault::Reset);
        let (network, ends) = serve(profile, script);
        let (one, two) = tokio::join!(biased; work(&network, 50), work(&network, 50));
        assert_eq!((told(one), told(two)), (LOST, LOST), "{profile:?}");
        assert!(network.settle(Duration::from_secs(5)).await);
        assert_eq!((ends.answered(), ends.dropped()), (answered, dropped), "{profile:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_after_the_handler_is_that_of_every_call_over_nats() {
    for (profile, other) in
        [(Profile::Http1, None), (Profile::Http2, None), (Profile::Nats, Some(LOST))]
    {
        let (network, ends) = serve(profile, first(Fault::BrokenAfter));
        let (one, two) = tokio::join!(biased; work(&network, 50), work(&network, 90));
        assert_eq!((told(one), two.err().map(|error| told(Err(error)))), (LOST, other));
        assert!(network.settle(Duration::from_secs(5)).await);
        assert_eq!(ends.answered(), [70, 110], "{profile:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_crashes_is_silent_over_nats() {
    for (profile, learned) in
        [(Profile::Http1, LOST), (Profile::Http2, LOST), (Profile::Nats, LATE)]
    {
        let script = Script::new().at("test", "svc", "svc.work", 2, Fault::Crashed);
        let (network, ends) = serve(profile, script);
        let (one, two) = tokio::join!(biased; work(&network, 50), work(&network, 50));
        assert_eq!((told(one), told(two)), (learned, learned), "{profile:?}");
        assert_eq!(ends.answered(), [0; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_without_an_instance_has_no_responder_over_nats() {
    for (profile, reason, after) in [
        (Profile::Http1, Reason::CONNECT_FAILED, 0),
        (Profile::Http2, Reason::CONNECT_FAILED, 0),
        (Profile::Nats, Reason::NO_RESPONDER, 40),
    ] {
        let (network, _) = serve(profile, first(Fault::ConnectFails));
        let began = Instant::now();
        let error = work(&network, 50).await.unwrap_err();
        let found = (error.code(), error.delivery(), error.reason(), began.elapsed().as_millis());
        assert_eq!(found, (Code::Unavailable, Delivery::NotSent, Some(&reason), after));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_request_runs_to_its_first_wait_over_http_and_to_its_end_over_nats() {
    for (profile, answered) in
        [(Profile::Http1, vec![]), (Profile::Http2, vec![]), (Profile::Nats, vec![3070])]
    {
        let (network, ends) = serve(profile, first(Fault::Late));
        assert_eq!(told(work(&network, 50).await), LATE, "{profile:?}");
        assert!(network.settle(Duration::from_secs(5)).await);
        let is_dropped = answered.is_empty();
        assert_eq!((ends.answered(), ends.dropped().len()), (answered, usize::from(is_dropped)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_run_continues_over_nats_when_the_first_has_answered() {
    let network = Network::with(first(Fault::Duplicated));
    network.set_profile("svc", Profile::Nats);
    let runs = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&runs);
    network.serve("svc", move || {
        let runs = Arc::clone(&kept);
        Router::new().route("svc.work", move |_: u64| {
            let nth = {
                let mut runs = runs.lock().unwrap();
                runs.push("began");
                runs.len()
            };
            let runs = Arc::clone(&runs);
            async move {
                sleep(Duration::from_millis(if nth == 1 { 10 } else { 500 })).await;
                runs.lock().unwrap().push("ended");
                Ok::<_, Error>(())
            }
        })
    });
    work(&network, 0).await.unwrap();
    assert!(network.settle(Duration::from_secs(5)).await);
    assert_eq!(*runs.lock().unwrap(), ["began", "began", "ended", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_a_carrier_cannot_have_does_not_strike() {
    for (profile, faults) in [
        (Profile::Http1, vec![Fault::Duplicated, Fault::Reset]),
        (Profile::Http2, vec![Fault::Duplicated]),
        (Profile::Nats, vec![Fault::Draining, Fault::BrokenWithin]),
    ] {
        for fault in faults {
            let (network, ends) = serve(profile, first(fault));
            work(&network, 50).await.unwrap();
            assert_eq!((ends.answered(), network.faults_fired()), (vec![70], 0), "{fault}");
        }
    }
}

#[test]
fn a_fault_that_a_carrier_cannot_have_is_not_tried() {
    for profile in Profile::ALL {
        let report = Worlds::up_to(1).run(move |network| async move {
            network.set_profile("svc", profile);
            network.serve("svc", || {
                Router::new().route("svc.work", |_: u64| async { Ok::<_, Error>(()) })
            });
            let _ = work(&network, 0).await;
        });
        let tried = Fault::ALL.into_iter().filter(|fault| profile.has(*fault)).count() - 2;
        assert!(report.is_complete() && report.unfired() == 0, "{report}");
        // Without `caller-crashed` and `crashed-on-reply`, as the test is no service.
        assert_eq!(report.explored(), 1 + tried, "{profile:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_proves_nothing_where_a_proxy_may_have_repeated_the_request() {
    let refused = async |profile, fault, body: &'static str| {
        let (network, _) = serve(profile, first(fault));
        let key = Idempotency::Keyed(IdempotencyKey::new("7").unwrap());
        let request = Request::new("svc.work".try_into().unwrap(), body).with_idempotency(key);
        let client = network.client("test", "svc");
        client.request(&Context::background(), request).await.unwrap_err().delivery()
    };
    for profile in [Profile::Http1, Profile::Http2] {
        for fault in [Fault::Draining, Fault::Overloaded] {
            assert_eq!(refused(profile, fault, "").await, Delivery::Unknown);
            assert_eq!(refused(profile, fault, "7").await, Delivery::Rejected);
        }
    }
    assert_eq!(refused(Profile::Nats, Fault::Overloaded, "").await, Delivery::Rejected);
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_an_instance_that_crashes_run_on_over_nats() {
    for (profile, answered) in [(Profile::Http1, vec![]), (Profile::Nats, vec![121])] {
        let script = Script::new().at("test", "front", "front.work", 2, Fault::Crashed);
        let (network, ends) = serve(profile, script);
        let below = network.client("front", "svc");
        network.serve("front", move || {
            let below = below.clone();
            Router::new().route("front.work", move |ctx: Context, millis: u64| {
                let below = below.clone();
                async move {
                    below.call::<()>(&ctx, "svc.work", &millis).await.map_err(Error::from)
                }
            })
        });
        let (client, ctx) = (network.client("test", "front"), Context::background());
        let first = async { client.call::<()>(&ctx, "front.work", &119).await };
        let second = async {
            sleep(Duration::from_millis(50)).await;
            client.call::<()>(&ctx, "front.work", &200).await
        };
        let (first, second) = tokio::join!(biased; first, second);
        assert!(first.is_err() && second.is_err(), "{}", network.trace());
        assert!(network.settle(Duration::from_secs(5)).await);
        assert_eq!(ends.answered(), answered, "{profile:?}\n{}", network.trace());
    }
}
