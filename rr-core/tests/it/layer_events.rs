//! Events of the layers around a requester, in virtual time.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::{Arc, Mutex};

use rr_core::balance::{Balance, BalanceConfig, Endpoint};
use rr_core::hedge::{Hedge, HedgeConfig};
use rr_core::limit::{AdaptiveConfig, ConcurrencyLimit, RateConfig, RateLimit};
use rr_core::observe::{Event, Observer, Observers};
use rr_core::throttle::Throttle;
use rr_core::transport::SeededEntropy;
use rr_core::{Context, Delivery, Error, Idempotency, Reason, Request, Requester, Stack};
use tokio::time::sleep;

use crate::balance::support::{Does, Host, balance, full, ms, request, unavailable, within};

/// Writes each event as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn observers(&self) -> Observers {
        Observers::new(self.clone())
    }
}

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::EndpointEjected { endpoint, lasts, cause, .. } => {
                format!("{endpoint} ejected for {lasts:?}: {}", cause.as_str())
            }
            Event::EndpointReturned { endpoint, .. } => format!("{endpoint} returned"),
            Event::EjectedEndpointRemoved { endpoint, .. } => format!("{endpoint} removed"),
            Event::Hedged { target, after, .. } => {
                assert!(*after >= ms(5) && *after < ms(7), "{after:?}");
                format!("{target} hedged")
            }
            Event::HedgeWon { target, .. } => format!("{target} won"),
            Event::HedgeRefused { target, .. } => format!("{target} refused"),
            Event::Throttled { target, .. } => format!("{target} throttled"),
            Event::LimitRefused { target, error, limit, .. } => {
                let reason = error.reason().map_or("", Reason::as_str);
                format!("{target} {reason} at {limit}, {}", error.delivery().as_str())
            }
            Event::LimitReported { target, limit, .. } => format!("{target} limit {limit}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// Error after which a host is not avoided: the call may have run there.
fn lost() -> Error {
    unavailable(Delivery::Unknown, Reason::CONNECTION_LOST)
}

fn safe() -> Request {
    request().with_idempotency(Idempotency::Safe)
}

/// Makes some calls one after the other; their outcomes do not matter.
async fn calls(client: &impl Requester, count: usize) {
    for _ in 0..count {
        let _ = client.request(&within(1000), safe()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_ejection_and_each_end_of_one_is_reported() {
    let lines = Lines::default();
    let hosts = [Host::fast(), Host::failing(lost())];
    let balance = balance(&hosts, BalanceConfig::default()).with_observers(lines.observers());
    calls(&balance, 50).await;
    assert_eq!(lines.take(), ["1 ejected for 30s: failures-in-row"]);
    sleep(ms(31_000)).await;
    calls(&balance, 5).await;
    assert_eq!(lines.take(), ["1 ejected for 60s: probe-failed"]);
    hosts[1].now_does(Does::Answers(ms(5)));
    sleep(ms(61_000)).await;
    calls(&balance, 5).await;
    assert_eq!(lines.take(), ["1 returned"]);

    hosts[1].now_does(Does::Fails(lost()));
    sleep(ms(600_000)).await;
    calls(&balance, 50).await;
    let first = || Endpoint::new("0", Arc::clone(&hosts[0]));
    balance.set([first()]).unwrap();
    assert_eq!(lines.take(), ["1 ejected for 30s: failures-in-row", "1 removed"]);
    balance.set([first(), Endpoint::new("2", Arc::clone(&hosts[1]))]).unwrap();
    // In its slow start, the new endpoint gets few calls.
    calls(&balance, 600).await;
    drop(balance);
    assert_eq!(lines.take(), ["2 ejected for 30s: failures-in-row", "2 removed"]);
}

#[tokio::test(start_paused = true)]
async fn a_low_success_rate_is_the_cause_of_an_ejection() {
    let lines = Lines::default();
    let hosts = [Host::fast(), Host::fast()];
    let config = BalanceConfig::default().with_failures_in_row_max(0);
    let balance = balance(&hosts, config).with_observers(lines.observers());
    calls(&balance, 400).await;
    hosts[1].now_does(Does::FailsLate(ms(5), lost()));
    calls(&balance, 400).await;
    assert_eq!(lines.take(), ["1 ejected for 30s: success-rate"]);
}

#[tokio::test(start_paused = true)]
async fn a_balance_over_one_endpoint_ejects_nothing() {
    let lines = Lines::default();
    let sole = Endpoint::new("0", Host::failing(lost()));
    let balance = Balance::new([sole]).unwrap().with_observers(lines.observers());
    calls(&balance, 100).await;
    // Also once the endpoints were replaced, when calls are counted.
    balance.set([Endpoint::new("0", Host::failing(lost()))]).unwrap();
    calls(&balance, 100).await;
    assert_eq!(balance.endpoints()[0].ejected_for, None);
    assert!(lines.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn second_requests_are_reported_with_their_success_and_their_refusal() {
    let (lines, host) = (Lines::default(), Host::fast());
    let config = HedgeConfig::default().with_extra_percent(2);
    let hedge = Hedge::with_config(config).with_observers(lines.observers());
    let client = Stack::new(Arc::clone(&host)).with(hedge);
    calls(&client, 100).await;
    assert!(lines.take().is_empty());

    host.now_does(Does::Answers(ms(50)));
    let ctx = within(1000);
    let slow = client.request(&ctx, safe());
    let recovers = async {
        sleep(ms(1)).await;
        host.now_does(Does::Answers(ms(5)));
    };
    tokio::join!(slow, recovers).0.unwrap();
    assert_eq!(lines.take(), ["orders.place hedged", "orders.place won"]);
    host.now_does(Does::Answers(ms(50)));
    calls(&client, 2).await;
    assert_eq!(lines.take(), ["orders.place hedged", "orders.place refused"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_held_back_is_reported() {
    let (lines, host) = (Lines::default(), Host::failing(full()));
    let throttle = Throttle::new().with_entropy(SeededEntropy::new(3));
    let throttle = throttle.with_observers(lines.observers());
    let client = Stack::new(Arc::clone(&host)).with(throttle);
    calls(&client, 200).await;
    let reported = lines.take();
    assert_eq!(reported.len(), 200 - host.calls());
    assert!(reported.len() > 50 && reported.iter().all(|line| line == "orders.place throttled"));
}

async fn refusal(client: &impl Requester) -> Error {
    client.request(&within(1000), safe()).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_limit_refuses_is_reported_with_the_reason_and_the_limit() {
    let lines = Lines::default();
    let limit = ConcurrencyLimit::fixed(2).with_observers(lines.observers());
    let client = Arc::new(Stack::new(Host::fast()).with(limit));
    let ctx = within(1000);
    let call = || client.request(&ctx, safe());
    let (one, two, error) = tokio::join!(call(), call(), refusal(&client));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
    assert_eq!(
        lines.take(),
        ["orders.place overloaded at 2, not_sent", "orders.place limit 2"],
        "the limit once a second"
    );
    calls(&client, 20).await;
    lines.take();
    client.request(&within(2), safe()).await.unwrap_err();
    assert_eq!(lines.take(), ["orders.place expired-on-arrival at 2, not_sent"]);
    // A call whose caller left is not reported as a refusal.
    let (ctx, handle) = Context::background().child();
    handle.cancel();
    client.request(&ctx, safe()).await.unwrap_err();
    assert!(lines.take().is_empty());

    let rate = RateConfig::default().with_burst(1).with_calls_per_second(7);
    let client =
        Stack::new(Host::fast()).with(RateLimit::new(rate).with_observers(lines.observers()));
    client.request(&within(1000), safe()).await.unwrap();
    assert_eq!(refusal(&client).await.reason(), Some(&Reason::RATE_LIMITED));
    assert_eq!(lines.take(), ["orders.place rate-limited at 7, not_sent"]);
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_is_reported_once_a_second() {
    let lines = Lines::default();
    let limit = ConcurrencyLimit::adaptive(AdaptiveConfig::default().with_initial(10));
    let client = Stack::new(Host::fast()).with(limit.with_observers(lines.observers()));
    calls(&client, 700).await;
    let reported = lines.take();
    // 700 calls of 5 ms.
    assert_eq!(reported.len(), 4, "{reported:?}");
    assert!(reported.iter().all(|line| line.starts_with("orders.place limit ")), "{reported:?}");
}
