//! What is in flight, what failed, counts and routes.

use std::sync::Arc;
use std::time::Duration;

use rr_core::admin::Admin;
use rr_core::config::{ClientConfig, IntakeConfig, ServerConfig};
use rr_core::{Context, RequesterExt as _, connect_with, serve_with};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::everywhere::everywhere_served;

fn observed(admin: &Admin) -> IntakeConfig {
    IntakeConfig::default().with_observers(admin.observers())
}

fn nothing_in_flight(page: &Value) -> bool {
    let counts = ["requests", "calls", "attempts"].map(|kind| &page["in_flight"][kind]);
    counts == [0, 0, 0] && page["in_flight"]["operations"] == json!([])
}

#[tokio::test]
async fn what_is_in_flight_is_shown_until_it_ends_on_every_transport() {
    let (admin, hanging) = (Admin::new(), Arc::new(Semaphore::new(0)));
    let config = observed(&admin);
    everywhere_served(
        "admin-in-flight",
        || router(&hanging),
        &config,
        async |_, url, _| {
            let client = connected(&admin, url).await;
            let ctx = context().with_request_id("r-17").unwrap();
            let call = tokio::spawn(async move { client.call_raw(&ctx, "t.hang", "").await });
            hanging.acquire().await.unwrap().forget();

            let page = page(&admin).await;
            let operations = &page["in_flight"]["operations"];
            for (kind, stage) in [
                ("request", "in the handler"),
                ("call", "waiting for the reply"),
                ("attempt", "waiting for the reply"),
            ] {
                let [shown] = of_kind(operations, kind)[..] else { panic!("{url}: {page:#}") };
                assert_eq!(shown["target"], "t.hang", "{url}");
                assert_eq!(shown["stage"], stage, "{url}: {shown}");
                assert_eq!(shown["request_id"], "r-17", "{url}");
                assert!(shown["age_ms"].as_f64().unwrap() >= 0.0, "{url}: {shown}");
                let left = shown["deadline_in_ms"].as_f64().unwrap();
                assert!(left > 0.0 && left <= 20_000.0, "{url}: {shown}");
            }
            let peer = &of_kind(operations, "request")[0]["peer"];
            assert_eq!(peer.is_string(), url.starts_with("http"), "{url}: {peer}");
            let html = html(&admin).await;
            assert!(html.contains("<code>t.hang</code>") && html.contains("r-17"), "{url}: {html}");

            call.abort();
            until(&admin, nothing_in_flight).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_failure_is_shown_once_with_its_account_on_every_transport() {
    let (admin, hanging) = (Admin::new(), Arc::new(Semaphore::new(0)));
    let config = observed(&admin);
    everywhere_served(
        "admin-failure",
        || router(&hanging),
        &config,
        async |_, url, _| {
            let before = page(&admin).await["failures"].as_u64().unwrap();
            let client = connected(&admin, url).await;
            client.call_raw(&context(), "t.echo", "").await.unwrap();
            let short = context().with_timeout(Duration::from_millis(200));
            client.call_raw(&short, "t.hang", "four").await.unwrap_err();
            hanging.acquire().await.unwrap().forget();

            // The request may end as dropped: its caller went away at the same time.
            let page = until(&admin, nothing_in_flight).await;
            let failures = page["failures"].as_u64().unwrap() - before;
            let last = page["last_failures"].as_array().unwrap();
            let last = Value::from(last[..failures.try_into().unwrap()].to_vec());
            let [call] = of_kind(&last, "call")[..] else { panic!("{url}: {last:#}") };
            assert_eq!(of_kind(&last, "attempt").len(), 0, "{url}: the call tells of its attempt");
            assert_eq!((&call["target"], &call["request_bytes"]), (&json!("t.hang"), &json!(4)));
            assert_eq!(call["code"], "deadline_exceeded", "{url}: {call}");
            assert_eq!(call["reason"], "expired-awaiting-reply", "{url}: {call}");
            assert_eq!(call["delivery"], "unknown", "{url}: {call}");
            let account = call["account"].as_str().unwrap();
            assert!(account.contains("waiting for the reply"), "{url}: {account}");
            let attempts = call["attempts"].as_array().unwrap();
            let stages: Vec<_> =
                attempts.iter().flat_map(|one| one["stages"].as_array().unwrap()).collect();
            let waited =
                stages.iter().find(|stage| stage["stage"] == "waiting for the reply").unwrap();
            assert!(waited["ms"].as_f64().unwrap() > 0.0, "{url}: {call}");
            let html = html(&admin).await;
            assert!(html.contains(account) && html.contains("<rect class=s6"), "{url}: {html}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_shows_how_long_it_waited_and_how_long_its_handler_took() {
    let admin = Admin::new();
    let slow = |_: Context, _: Request| async {
        sleep(Duration::from_millis(40)).await;
        Err::<Response, _>(Error::new(Code::Internal, "disk full"))
    };
    let local = Local::with_config(Router::new().route("t.slow", slow), observed(&admin));
    local.call_raw(&context(), "t.slow", "").await.unwrap_err();
    local.call_raw(&context(), "t.unknown", "").await.unwrap_err();
    sleep(Duration::from_millis(1500)).await;
    let page = page(&admin).await;
    let [unknown, slow] = &page["last_failures"].as_array().unwrap()[..] else {
        panic!("{page:#}");
    };
    assert_eq!((&slow["kind"], &slow["message"]), (&json!("request"), &json!("disk full")));
    let stages = json!([
        {"stage": "before the handler", "ms": 0.0}, {"stage": "in the handler", "ms": 40.0},
    ]);
    assert_eq!(slow["attempts"][0]["stages"], stages, "{slow:#}");
    assert_eq!(slow["ago_ms"], 1500.0, "{slow:#}");
    assert_eq!(unknown["reason"], "no-such-target", "{unknown:#}");
    let only = json!([{"stage": "before the handler", "ms": 0.0}]);
    assert_eq!(unknown["attempts"][0]["stages"], only, "{unknown:#}");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_of_a_failed_call_has_its_ledger() {
    let (admin, hanging) = (Admin::new(), Arc::new(Semaphore::new(0)));
    let server = rr_core::serve("memory://admin-attempts", router(&hanging)).await.unwrap();
    let client = connected(&admin, server.url()).await;
    client.call_raw(&context(), "t.busy", "").idempotent().await.unwrap_err();
    let page = page(&admin).await;
    let failure = &page["last_failures"][0];
    let attempts = failure["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "{failure:#}");
    assert!(attempts[0]["decision"].as_str().unwrap().starts_with("tried again after"));
    assert!(failure["account"].as_str().unwrap().contains("pausing"), "{failure:#}");
    let html = html(&admin).await;
    assert!(html.contains("<b>Attempt 3</b> unavailable"), "{html}");
}

#[tokio::test]
async fn an_attempt_that_is_sent_again_immediately_keeps_its_number() {
    let admin = Admin::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = connected(&admin, &url).await;
    client.call_raw(&context(), "t.echo", "").await.unwrap_err();
    let page = page(&admin).await;
    let attempts = page["last_failures"][0]["attempts"].as_array().unwrap();
    let numbers: Vec<_> = attempts.iter().map(|attempt| &attempt["attempt"]).collect();
    assert_eq!(numbers, [1, 1, 2, 3], "{page:#}");
    let html = html(&admin).await;
    assert!(html.contains("<b>Attempt 1 again</b> connect-failed"), "{html}");
    assert!(html.contains("connecting"), "{html}");
}

#[tokio::test]
async fn counts_routes_and_the_drain_of_servers_and_clients_are_shown() {
    let (admin, hanging) = (Admin::new(), Arc::new(Semaphore::new(0)));
    let config = ServerConfig::default().with_observers(admin.observers());
    let router = router(&hanging).merge(admin.router());
    let server = serve_with("memory://admin-counts", router, config).await.unwrap();
    admin.watch_server(&server);
    let client = connect_with(server.url(), ClientConfig::default()).await.unwrap();
    admin.watch_client("orders", &client);
    client.call_raw(&context(), "t.echo", "").await.unwrap();
    client.call_raw(&context(), "t.busy", "").await.unwrap_err();

    let before = page(&admin).await;
    assert_eq!(
        (&before["phase"], &before["version"]),
        (&json!("serving"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let of_server = &before["servers"][0];
    let routes: Vec<_> =
        of_server["routes"].as_array().unwrap().iter().map(|r| &r["route"]).collect();
    assert_eq!(routes, ["rr.debug", "t.busy", "t.echo", "t.hang"]);
    assert_eq!(of_server["routes"][0]["idempotency"], "safe");
    for stats in [&of_server["stats"], &before["clients"][0]["stats"]] {
        assert_eq!((&stats["started"], &stats["succeeded"]), (&json!(2), &json!(1)), "{stats}");
        assert_eq!(stats["failures"], json!({"unavailable": 1}), "{stats}");
    }
    let html = html(&admin).await;
    for text in ["client <code>orders</code>", "unavailable 1", "memory://admin-counts"] {
        assert!(html.contains(text), "{text}: {html}");
    }

    server.shutdown(Duration::ZERO).await;
    let drained = page(&admin).await;
    assert_eq!(drained["phase"], "drained");
    assert_eq!(drained["servers"][0]["is_draining"], true);
    drop(server);
    until(&admin, |page| page["servers"] == json!([])).await;
}

#[tokio::test]
async fn the_page_says_drained_only_once_every_watched_server_has_drained() {
    let (admin, hanging) = (Admin::new(), Arc::new(Semaphore::new(0)));
    let serve = async |url: &str| {
        let config = ServerConfig::default().with_observers(admin.observers());
        serve_with(url, router(&hanging), config).await.unwrap()
    };
    let (first, second) = (serve("memory://phase-1").await, serve("memory://phase-2").await);
    admin.watch_server(&first);
    admin.watch_server(&second);
    first.shutdown(Duration::ZERO).await;
    assert_eq!(page(&admin).await["phase"], "serving");
    drop(first);
    until(&admin, |page| page["servers"].as_array().unwrap().len() == 1).await;
    assert_eq!(page(&admin).await["phase"], "serving");

    let client = connected(&admin, second.url()).await;
    let call = tokio::spawn(async move { client.call_raw(&context(), "t.hang", "").await });
    hanging.acquire().await.unwrap().forget();
    let drain = tokio::spawn(async move { second.shutdown(Duration::from_secs(20)).await });
    until(&admin, |page| page["phase"] == "draining").await;
    call.abort();
    drain.await.unwrap();
    assert_eq!(page(&admin).await["phase"], "drained");
}

#[tokio::test]
async fn the_page_does_not_say_drained_of_servers_that_are_not_watched() {
    let admin = Admin::new();
    let serve = async |url: &str| {
        let config = ServerConfig::default().with_observers(admin.observers());
        serve_with(url, admin.router(), config).await.unwrap()
    };
    let (first, second) = (serve("memory://phase-3").await, serve("memory://phase-4").await);
    assert_eq!(page(&admin).await["phase"], "serving");
    first.shutdown(Duration::ZERO).await;
    assert_eq!(page(&admin).await["phase"], "unknown");
    drop(second);
}

#[tokio::test]
async fn the_requests_of_the_page_are_not_on_it() {
    let admin = Admin::new();
    let local = Local::with_config(admin.router(), observed(&admin));
    for _ in 0..2 {
        let reply = local.call_raw(&context(), "rr.debug", "").await.unwrap();
        let page: Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(nothing_in_flight(&page), "{page:#}");
    }
}
