//! Mocks on every transport, within a router, behind retries, and in every world.

use rr_core::{CallError, Code, Context, Error, RequesterExt, Router, recommended};
use rr_testkit::worlds::Worlds;
use rr_testkit::{Mock, loopback};

use super::{Charge, charge, dropped, reason};
use crate::everywhere::everywhere;

#[tokio::test]
async fn a_mock_answers_on_every_transport() {
    let mock = Mock::service("payments");
    mock.on("charge").when(|charge: &Charge| charge.cents > 100).fail(Code::ResourceExhausted);
    mock.on("charge").when(|charge: &Charge| charge.cents > 0).reply("paid");
    let router = || {
        Router::new()
            .merge(&mock)
            .route("other.ping", |(): ()| async { Ok::<_, Error>("pong".to_owned()) })
    };
    everywhere("mocked", router, async |url, client| {
        let ctx = Context::background();
        let pay = async |cents: u64| -> Result<String, Error> {
            let outcome: Result<String, CallError> =
                client.call(&ctx, "payments.charge", &charge(cents)).await;
            outcome.map_err(Error::from)
        };
        assert_eq!(pay(1).await.unwrap(), "paid", "{url}");
        assert_eq!(pay(101).await.unwrap_err().code(), Code::ResourceExhausted, "{url}");
        let safe: String = client.call(&ctx, "payments.charge", &charge(1)).safe().await.unwrap();
        assert_eq!(safe, "paid", "{url}");
        let error = pay(0).await.unwrap_err();
        assert_eq!(reason(&error), "mock-no-match", "{url}");
        let pong: String = client.call(&ctx, "other.ping", &()).await.unwrap();
        assert_eq!(pong, "pong", "{url}");
        // A raw call names no type, and NATS leaves JSON out.
        let body = "{\"cents\":1,\"to\":\"\"}";
        let reply = client.call_raw(&ctx, "payments.charge", body).await.unwrap();
        assert_eq!(reply.body, "\"paid\"", "{url}");
        if !url.starts_with("nats") {
            assert_eq!(reply.headers.get("content-type"), Some("application/json"), "{url}");
        }
    })
    .await;
    assert!(dropped(mock).contains("the predicate of `when`"));
}

#[tokio::test(start_paused = true)]
async fn retries_are_tested_by_failures_that_pass() {
    let mock = Mock::service("payments");
    mock.on("charge").fail_times(2, Code::Unavailable).reply("paid").expect(3);
    let client = recommended(loopback(&mock));
    let paid: String = client
        .call(&Context::background(), "payments.charge", &charge(1))
        .idempotent()
        .await
        .unwrap();
    assert_eq!(paid, "paid");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_mock_itself_is_not_retried() {
    let mock = Mock::service("payments");
    let client = recommended(loopback(&mock));
    let ctx = Context::background();
    let call = client.call(&ctx, "payments.charge", &charge(1)).idempotent();
    let outcome: Result<String, CallError> = call.await;
    assert_eq!(reason(&Error::from(outcome.unwrap_err())), "mock-no-match");
    assert_eq!(mock.received().len(), 1);
    dropped(mock);
}

#[test]
fn a_mock_that_is_called_twice_in_some_world_is_a_counterexample() {
    let report = Worlds::up_to(1).run(|network| async move {
        let mock = Mock::service("payments");
        mock.on("charge").reply("paid").expect(..=1);
        let routes = mock.routes();
        network.serve("payments", move || routes.clone());
        let client = network.client("test", "payments");
        let ctx = Context::background().with_timeout(std::time::Duration::from_secs(5));
        for _ in 0..2 {
            let paid: Result<String, CallError> =
                client.call(&ctx, "payments.charge", &charge(1)).await;
            if paid.is_ok() {
                break;
            }
        }
    });
    let found = report.counterexample().expect("a lost reply makes the second call run");
    assert!(found.wrong().contains("expected at most 1 request, received 2"), "{}", found.wrong());
}

#[test]
fn a_scenario_that_is_stuck_is_reported_whatever_its_mock_lacks() {
    let report = Worlds::up_to(0).run(|network| async move {
        let mock = Mock::service("payments");
        mock.on("charge").reply("paid").expect(1);
        let routes = mock.routes();
        network.serve("payments", move || routes.clone());
        std::future::pending::<()>().await;
    });
    let found = report.counterexample().expect("a counterexample");
    assert!(found.wrong().contains("the scenario is stuck"), "{}", found.wrong());
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_mock_answers_calls_by_get() {
    let mock = Mock::service("payments");
    mock.on("charge").with(charge(1)).reply("paid").expect(1);
    let server = rr_core::serve("http://127.0.0.1:0", Router::new().merge(&mock)).await.unwrap();
    let url = format!("{}?get_bytes_max=2048", server.url());
    let client = rr_core::connect(&url).await.unwrap();
    let ctx = Context::background();
    let call = client.call(&ctx, "payments.charge", &charge(1)).safe();
    let paid: String = call.await.unwrap();
    assert_eq!(paid, "paid");
}
