//! The same over every transport compiled in, with the feature alone: no observer is set.

use std::time::Duration;

use rr_core::config::ClientConfig;
use rr_core::{Context, Error, Request, Requester, Response, Router, connect_with, recommended};
use tracing::{Level, info};

use super::secrets::{SECRET, calls, check, router};
use super::support::*;
use crate::everywhere::everywhere;

async fn place(_: Context, request: Request) -> Result<Response, Error> {
    info!(target: "app", "placing");
    Ok(Response::new(request.body))
}

async fn panics(_: Context, _: Request) -> Result<Response, Error> {
    panic!("out of tea")
}

fn bounded() -> Context {
    Context::background().with_timeout(Duration::from_secs(10))
}

#[tokio::test]
async fn calls_attempts_and_requests_have_spans_over_every_transport() {
    let router = || Router::new().route("orders.place", place);
    everywhere("tracing-spans", router, async |url, client| {
        let (log, _guard) = Log::capture();
        let client = recommended(client);
        let ctx = bounded().with_request_id("r-1").unwrap();
        client.request(&ctx, request("orders.place")).await.unwrap();
        let entries = log.ended("request", 1).await;
        let around = if url.starts_with("memory") { &["call", "attempt"][..] } else { &[] };
        let path = [around, &["request"]].concat();
        let placing = entries.iter().find(|entry| entry.name == "placing").unwrap();
        assert_eq!(placing.path, path, "{url}");
        for (name, path) in
            [("call", &["call"][..]), ("attempt", &["call", "attempt"]), ("request", &path)]
        {
            let spans: Vec<_> = entries.iter().filter(|entry| entry.name == name).collect();
            assert_eq!(spans.len(), 1, "{url}: {name}");
            assert_eq!((&*spans[0].path, spans[0].get("rr.code")), (path, "ok"), "{url}: {name}");
            assert_eq!(spans[0].get("request_id"), "r-1", "{url}: {name}");
            assert_eq!(spans[0].get("request_bytes"), "4", "{url}: {name}");
        }
        let request = entries.iter().find(|entry| entry.name == "request").unwrap();
        assert_eq!(request.get("otel.name"), "orders.place", "{url}");
        assert_eq!(request.get("peer").is_empty(), !url.starts_with("http"), "{url}");
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_logged_once_with_its_text_over_every_transport() {
    let router = || Router::new().route("orders.place", panics);
    everywhere("tracing-panics", router, async |url, client| {
        let (log, _guard) = Log::capture();
        let client = recommended(client);
        client.request(&bounded(), request("orders.place")).await.unwrap_err();
        let entries = log.ended("request", 1).await;
        let failed: Vec<_> =
            entries.iter().filter(|entry| !entry.is_span && entry.target == "rr::server").collect();
        let [event] = *failed else { panic!("{url}: {failed:?}") };
        assert_eq!((event.get("panic"), event.level), ("out of tea", Level::ERROR), "{url}");
        let elsewhere = entries.iter().filter(|entry| entry.target != "rr::server");
        for entry in elsewhere {
            assert!(!format!("{entry:?}").contains("tea"), "{url}: {entry:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_logged_over_any_transport() {
    everywhere("tracing-secrets", router, async |url, client| {
        let (log, _guard) = Log::capture();
        let failed = calls(&recommended(client)).await;
        // One call succeeds. Over NATS the unknown target has no server that could refuse it.
        let requests = failed + usize::from(!url.starts_with("nats"));
        let entries = log.ended("request", requests).await;
        check(&entries, failed);
    })
    .await;
}

#[tokio::test]
async fn no_credential_of_a_url_or_of_a_configuration_is_logged() {
    let urls = [
        "http://127.0.0.1:1/",
        "http://user:hunter2@127.0.0.1:1/",
        "http://127.0.0.1:1/?proxy=http://user:hunter2@127.0.0.1:1",
        "https://127.0.0.1:1/?tls_key=hunter2.pem&tls_certificate=hunter2.pem",
        "nats://user:hunter2@127.0.0.1:1",
        "nats://hunter2@127.0.0.1:1",
        "nats://127.0.0.1:1?credentials_file=hunter2.creds",
        "nats://127.0.0.1:1?nkey_file=hunter2.nk",
        "memory://nowhere",
    ];
    let mut calls = 0;
    for url in urls {
        let (log, _guard) = Log::capture();
        // Some of them are refused, or need a feature.
        let Ok(client) = connect_with(url, ClientConfig::default()).await else { continue };
        let ctx = bounded().with_timeout(Duration::from_millis(200));
        recommended(client).request(&ctx, request("t")).await.unwrap_err();
        let entries = log.take();
        let failed = entries.iter().filter(|entry| entry.name == "call failed").count();
        assert_eq!(failed, 1, "{url}");
        for entry in &entries {
            assert!(!format!("{entry:?}").contains(SECRET), "{url}: {entry:?}");
        }
        calls += 1;
    }
    assert!(calls > 0);
}
