//! One router at several URLs.

#![cfg(all(feature = "http", feature = "memory"))]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{
    Code, Context, Delivery, Error, Reason, Request, RequesterExt, Response, Router,
    config::IntakeConfig, connect, serve, serve_all, serve_all_until, serve_all_with,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn hang(_: Context, _: Request) -> Result<Response, Error> {
    pending().await
}

fn hanging() -> Router {
    Router::new().route("a.hang", hang)
}

async fn no_urls() -> Result<rr_core::Servers, Error> {
    serve_all([] as [&str; 0], hanging()).await
}

/// Calls in a task, and returns once the handlers of all calls up to this one have been entered.
async fn call(url: &str, servers: &rr_core::Servers) -> JoinHandle<Result<Response, Error>> {
    let (client, before) = (connect(url).await.expect("a URL"), servers.in_flight());
    let call = tokio::spawn(async move {
        client.call_raw(&Context::background().unbounded(), "a.hang", "").await
    });
    while servers.in_flight() == before {
        tokio::task::yield_now().await;
    }
    call
}

#[tokio::test]
async fn one_router_answers_at_every_url() {
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&runs);
    let count = move |_: Context, _: Request| {
        let runs = seen.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok::<_, Error>(Response::new(runs.to_string())) }
    };
    let urls = ["memory://several", "http://127.0.0.1:0", "http://127.0.0.1:0?version=h2c"];
    let servers = serve_all(urls, Router::new().route("a.count", count)).await.unwrap();
    assert_eq!(servers.urls().count(), urls.len());
    for (at, url) in servers.urls().enumerate() {
        let client = connect(url).await.unwrap();
        let response = client.call_raw(&Context::background(), "a.count", "").await.unwrap();
        assert_eq!(response.body, (at + 1).to_string(), "{url}");
    }
    let report = servers.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.aborted, runs.load(Ordering::SeqCst)), (0, 3));
    for url in servers.urls() {
        let client = connect(url).await.unwrap();
        let error = client.call_raw(&Context::background(), "a.count", "").await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{url}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_servers_share_one_grace_and_their_reports_are_summed() {
    let urls = ["memory://grace-1", "memory://grace-2", "memory://grace-3"];
    let servers = serve_all(urls, hanging()).await.unwrap();
    let mut calls = Vec::new();
    for url in urls {
        calls.push(call(url, &servers).await);
    }
    let start = Instant::now();
    let report = servers.shutdown(ms(1_000)).await;
    assert!(start.elapsed() >= ms(1_000) && start.elapsed() < ms(1_500), "{:?}", start.elapsed());
    assert_eq!((report.completed, report.aborted), (0, 3));
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_requests_in_flight_holds_for_each_url() {
    let urls = ["memory://limit-1", "memory://limit-2"];
    let config = IntakeConfig::default().with_in_flight_max(1);
    let servers = serve_all_with(urls, hanging(), config).await.unwrap();
    for url in urls {
        call(url, &servers).await;
        let client = connect(url).await.unwrap();
        let error = client.call_raw(&Context::background(), "a.hang", "").await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::OVERLOADED), "{url}: {error}");
    }
    assert_eq!(servers.in_flight(), 2);
}

#[tokio::test]
async fn a_url_that_cannot_be_served_is_named_and_stops_those_that_began() {
    let taken = serve("http://127.0.0.1:0", hanging()).await.unwrap();
    let occupied = taken.url().as_str();
    for (last, code, named) in [
        ("http://user:hunter2@h", Code::InvalidArgument, "`http://***@h`"),
        ("gopher://h", Code::InvalidArgument, "`gopher://h`"),
        ("memory://begun?in_flight_max=x", Code::InvalidArgument, "`in_flight_max`"),
        (occupied, Code::Unavailable, occupied),
        ("memory://begun", Code::AlreadyExists, "`memory://begun`"),
    ] {
        let urls = ["memory://begun", "http://127.0.0.1:0", last];
        let error = serve_all(urls, hanging()).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (code, Delivery::NotSent), "{error}");
        assert!(error.message().contains(named), "{error}");
        let shown = format!("{error} {error:?} {}", error.hint());
        assert!(!shown.contains("hunter2"), "{shown}");
        // The name is free again as soon as the error is there.
        drop(serve_all(["memory://begun"], hanging()).await.unwrap());
    }
    let error = no_urls().await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
}

#[tokio::test(start_paused = true)]
async fn a_signal_drains_all_servers() {
    let slow = |_: Context, _: Request| async {
        tokio::time::sleep(ms(100)).await;
        Ok::<_, Error>(Response::new("done"))
    };
    let urls = ["memory://signal-1", "memory://signal-2"];
    let serving = serve_all_until(urls, Router::new().route("a.slow", slow), async {
        tokio::time::sleep(ms(50)).await;
    });
    let answered = async |url: &str| {
        let client = connect(url).await.unwrap();
        client.ready(&Context::background()).await.unwrap();
        client.call_raw(&Context::background(), "a.slow", "").await.unwrap().body
    };
    let (report, first, second) = tokio::join!(serving, answered(urls[0]), answered(urls[1]));
    assert_eq!((first, second), ("done".into(), "done".into()));
    assert_eq!(report.unwrap().completed, 2);
}
