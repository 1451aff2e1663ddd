//! What health checks see.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rr_http::{HttpServerConfig, serve_with_stats};
use rr_spi::{Code, Error, Routes, Server};
use tokio::net::TcpStream;

use crate::support::*;

const HEALTH: &str = "/.well-known/rr/health";
const LIVE: &str = "/.well-known/rr/health/live";

/// An application whose database may be down, and the number of runs of its check.
async fn served() -> (Server, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (is_up, runs) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (up, counted) = (Arc::clone(&is_up), Arc::clone(&runs));
    let mut routes = Routes::new();
    let check = move || -> Boxed<_> {
        counted.fetch_add(1, Ordering::SeqCst);
        let is_up = up.load(Ordering::SeqCst);
        let down = || Error::new(Code::Unavailable, "no \"primary\"");
        Box::pin(async move { if is_up { Ok(()) } else { Err(down()) } })
    };
    routes.readiness_check("database", check).unwrap();
    let hang = || -> Boxed<_> { Box::pin(async { Ok(()) }) };
    routes.readiness_check("cache", hang).unwrap();
    let config = HttpServerConfig::default();
    let (server, _) = serve_with_stats("http://127.0.0.1:0", routes, config).await.unwrap();
    (server, is_up, runs)
}

async fn ask(server: &Server, path: &str) -> Answer {
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut raw = Raw(TcpStream::connect(address).await.unwrap());
    raw.send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    raw.answer().await.unwrap()
}

#[tokio::test]
async fn a_failed_check_is_named_and_readiness_returns_when_it_passes() {
    let (server, is_up, _) = served().await;
    let answer = ask(&server, HEALTH).await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"status":"serving"}"#));
    is_up.store(false, Ordering::SeqCst);
    let answer = loop {
        // The outcome of the last run is reused for a second.
        let answer = ask(&server, HEALTH).await;
        if answer.status != 200 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let expected =
        serde_json::json!({"status": "unready", "failed": {"database": "no \"primary\""}});
    assert_eq!(document, expected);
    // The process answers nevertheless, and is not restarted for it.
    let answer = ask(&server, LIVE).await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"status":"live"}"#));
    is_up.store(true, Ordering::SeqCst);
    while ask(&server, HEALTH).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn frequent_health_checks_do_not_load_the_application() {
    let (server, _, runs) = served().await;
    let begin = tokio::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(ask(&server, HEALTH).await.status, 200);
        ask(&server, LIVE).await;
    }
    let most = 1 + usize::try_from(begin.elapsed().as_secs()).unwrap();
    assert!((1..=most).contains(&runs.load(Ordering::SeqCst)), "{runs:?}");
}

#[tokio::test]
async fn liveness_is_answered_during_a_drain_and_checks_are_not_run() {
    let (server, _, runs) = served().await;
    let drain = server.shutdown(Duration::from_secs(5));
    let asked = async {
        tokio::task::yield_now().await;
        let answer = ask(&server, HEALTH).await;
        assert_eq!((answer.status, answer.text()), (503, r#"{"status":"draining"}"#));
        assert_eq!(ask(&server, LIVE).await.status, 200);
    };
    tokio::join!(drain, asked);
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}
