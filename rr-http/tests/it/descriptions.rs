//! The descriptions of the services, at `/.well-known/rr`.

#![allow(clippy::unwrap_used, reason = "tests and what they share")]

use std::sync::Arc;
use std::time::Duration;

use rr_http::{HttpServerConfig, serve_with_stats};
use rr_spi::{Declared, Route, Routes, Server};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{Answer, Probe, Raw, Seen, within};

const GET: &str = "GET /.well-known/rr HTTP/1.1\r\nhost: h\r\n\r\n";

async fn served(url: &str, describe: &[&str]) -> (Server, mpsc::UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let probe = Arc::new(Probe { seen: sender, runs: Arc::default() });
    let mut routes = Routes::new();
    routes.insert(Route::Target("slow".into()), Declared::Unspecified, probe).unwrap();
    for service in describe {
        routes.describe(service, json!({"name": service, "docs": "a \"shop\""})).unwrap();
    }
    let config = HttpServerConfig::default();
    (serve_with_stats(url, routes, config).await.unwrap().0, seen)
}

async fn connected(server: &Server) -> Raw {
    let address = server.url().trim_start_matches("http://").trim_end_matches("/api");
    Raw(TcpStream::connect(address).await.unwrap())
}

async fn ask(server: &Server, head: &str) -> Answer {
    let mut raw = connected(server).await;
    raw.send(head).await;
    raw.answer().await.unwrap()
}

#[tokio::test]
async fn the_described_services_are_listed_also_under_a_prefix() {
    for url in ["http://127.0.0.1:0", "http://127.0.0.1:0/api"] {
        let (server, _seen) = served(url, &["orders.v1", "stock"]).await;
        let answer = ask(&server, GET).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        let services = &document["services"];
        assert_eq!(services[0], json!({"name": "orders.v1", "docs": "a \"shop\""}));
        assert_eq!(
            (&services[1]["name"], services.as_array().unwrap().len()),
            (&json!("stock"), 2)
        );
        let mut raw = connected(&server).await;
        raw.send(&GET.replace("GET", "HEAD")).await;
        let head = raw.answer_to_head().await.unwrap();
        assert_eq!(head.header("content-length"), Some(&*answer.body.len().to_string()));
    }
}

#[tokio::test]
async fn without_descriptions_and_by_post_the_path_is_not_found() {
    let (server, _seen) = served("http://127.0.0.1:0", &[]).await;
    ask(&server, GET).await.assert_error(404, "unimplemented", "unknown");
    let (server, _seen) = served("http://127.0.0.1:0", &["orders"]).await;
    let post = "POST /.well-known/rr HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n";
    ask(&server, post).await.assert_error(404, "unimplemented", "rejected");
}

#[tokio::test]
async fn the_descriptions_are_answered_during_a_drain() {
    let (server, mut seen) = served("http://127.0.0.1:0", &["orders"]).await;
    let mut slow = connected(&server).await;
    slow.post("/slow", "", "400").await;
    assert_eq!(within(seen.recv()).await, Some(Seen::Began));
    let drain = server.shutdown(Duration::from_secs(5));
    let newcomer = async {
        tokio::task::yield_now().await;
        let answer = ask(&server, GET).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
    };
    let (report, ()) = within(async { tokio::join!(drain, newcomer) }).await;
    assert_eq!((report.completed, report.refused), (1, 0));
}
