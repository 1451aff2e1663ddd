//! A service of the application answers what no route does.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rr_http::{HttpConfig, HttpRequester, HttpServerBuilder, HttpServerConfig, HttpVersion};
use rr_spi::{Code, Delivery, Peer, Requester as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};

use crate::support::*;

/// What the app's routes wait for, and tell.
#[derive(Clone, Default)]
struct App {
    began: Arc<Notify>,
    finish: Arc<Notify>,
}

/// Body that takes its frames from a channel; an empty one makes it panic.
struct Channel(mpsc::Receiver<&'static str>);

impl Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|next| {
            assert_ne!(next, Some(""), "secret");
            next.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
        })
    }
}

/// Empty body whose destructor panics.
struct Fragile;

impl Body for Fragile {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("secret");
    }
}

/// Service that cannot be cloned.
struct Unclonable;

impl Clone for Unclonable {
    fn clone(&self) -> Self {
        panic!("secret");
    }
}

impl tower_service::Service<http::Request<rr_http::HttpRequestBody>> for Unclonable {
    type Response = http::Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<http::Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<rr_http::HttpRequestBody>) -> Self::Future {
        std::future::ready(Ok(http::Response::default()))
    }
}

fn app(state: App) -> Router {
    Router::new()
        .route("/", get(async || "a page"))
        .route("/a/b/{c}", get(async |Path(c): Path<String>| c))
        .route("/a/b/echo", post(async |body: AxumBody| body))
        .route("/a/b/panic", get(async || -> String { panic!("secret") }))
        .route("/a/b/panic-drop", get(async || AxumBody::new(Fragile)))
        .route(
            "/a/b/panic-body",
            get(async || {
                let (sender, frames) = mpsc::channel(2);
                sender.send("some").await.unwrap();
                sender.send("").await.unwrap();
                AxumBody::new(Channel(frames))
            }),
        )
        .route(
            "/a/b/slow",
            get(async |State(app): State<App>| {
                app.began.notify_one();
                app.finish.notified().await;
                "done"
            }),
        )
        .route(
            "/a/b/caller",
            get(async |caller: Extension<SocketAddr>, peer: Extension<Arc<Peer>>| {
                assert_eq!(peer.0.address(), Some(caller.0));
                caller.0.to_string()
            }),
        )
        .with_state(state)
}

struct Both {
    fixture: Fixture,
    app: App,
}

async fn both_with(config: HttpServerConfig) -> Both {
    let (routes, seen, runs) = probed();
    let state = App::default();
    let builder = HttpServerBuilder::new(routes).with_config(config);
    let builder = builder.with_fallback(app(state.clone()));
    let stats = builder.stats();
    let server = builder.serve("http://127.0.0.1:0").await.unwrap();
    Both { fixture: Fixture { server, stats, seen, runs }, app: state }
}

async fn both() -> Both {
    both_with(HttpServerConfig::default()).await
}

impl Both {
    async fn raw(&self) -> Raw {
        self.fixture.raw().await
    }

    /// Sends a GET on a new connection.
    async fn get(&self, path: &str) -> Raw {
        let mut raw = self.raw().await;
        raw.send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        raw
    }
}

#[tokio::test]
async fn paths_that_are_no_targets_go_to_the_service_and_others_to_the_routes() {
    let both = both().await;
    for (path, text) in [("/", "a page"), ("/a/b/c", "c")] {
        let answer = both.get(path).await.answer().await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, text));
        assert_eq!(answer.header("rr-code"), None);
    }
    let health = both.get("/.well-known/rr/health").await.answer().await.unwrap();
    assert_eq!(health.text(), r#"{"status":"serving"}"#);
    let unrouted = both.get("/nothing").await.answer().await.unwrap();
    assert_eq!((unrouted.status, unrouted.header("rr-code")), (404, None), "axum's 404");
    let refused = both.get("/echo").await.answer().await.unwrap();
    refused.assert_text_error(405, "unimplemented", "unknown");
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let config = HttpConfig::default().with_version(version);
        let client = HttpRequester::new(both.fixture.server.url(), config).unwrap();
        let reply = client.request(&context(), request("svc.echo", "hello")).await.unwrap();
        assert_eq!(reply.body, "hello");
        // The service speaks no rr: its replies are read as foreign ones.
        let error = client.request(&context(), request("other.method", "")).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unimplemented, Delivery::Unknown));
    }
}

#[tokio::test]
async fn one_connection_serves_both_and_malformed_hosts_reach_neither() {
    let both = both().await;
    let mut raw = both.raw().await;
    for _ in 0..2 {
        raw.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(raw.answer().await.unwrap().text(), "a page");
        raw.post("/echo", "", "hi").await;
        assert_eq!(raw.answer().await.unwrap().text(), "hi");
    }
    raw.send("POST / HTTP/1.1\r\nhost: a b\r\ncontent-length: 0\r\n\r\n").await;
    raw.answer().await.unwrap().assert_error(400, "invalid_argument", "rejected");
}

#[tokio::test]
async fn a_reply_of_the_service_is_the_last_on_an_old_connection() {
    for (age, says) in [(Duration::ZERO, "close"), (Duration::from_secs(600), "keep-alive")] {
        let both = both_with(HttpServerConfig::default().with_connection_age_max(age)).await;
        let mut raw = both.get("/").await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.text(), answer.header("connection")), ("a page", Some(says)));
        if says == "close" {
            assert!(raw.rest().await.is_empty(), "the connection ends");
        }
    }
}

#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let both = both().await;
    let mut raw = both.raw().await;
    let head = "POST /a/b/echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    raw.send(&format!("{head}3\r\none\r\n")).await;
    // The first part comes back before the last one has been sent.
    let mut read = String::new();
    while !read.ends_with("one\r\n") {
        read.push(char::from(within(raw.0.read_u8()).await.unwrap()));
    }
    raw.send("3\r\ntwo\r\n0\r\n\r\n").await;
    while !read.ends_with("0\r\n\r\n") {
        read.push(char::from(within(raw.0.read_u8()).await.unwrap()));
    }
    assert!(read.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{read}");
}

#[tokio::test]
async fn a_drain_waits_for_requests_of_the_service_and_the_grace_ends_them() {
    let both = both().await;
    let mut slow = both.get("/a/b/slow").await;
    within(both.app.began.notified()).await;
    let drain = both.fixture.server.shutdown(Duration::from_secs(60));
    let finish = async {
        let newcomer = both.get("/").await.answer().await.unwrap();
        assert_eq!((newcomer.status, newcomer.header("connection")), (200, Some("close")));
        eventually("the server listens no more", || {
            std::net::TcpStream::connect(both.fixture.address()).is_err()
        })
        .await;
        both.app.finish.notify_one();
        let answer = slow.answer().await.unwrap();
        assert_eq!((answer.text(), answer.header("connection")), ("done", Some("close")));
    };
    let (report, ()) = within(async { tokio::join!(drain, finish) }).await;
    assert_eq!((report.completed, report.aborted, report.refused), (0, 0, 0));
    both.fixture.quiet().await;

    let both = self::both().await;
    let mut slow = both.get("/a/b/slow").await;
    within(both.app.began.notified()).await;
    within(both.fixture.server.shutdown(Duration::from_millis(300))).await;
    assert!(slow.answer().await.is_none());
    both.fixture.quiet().await;
}

#[tokio::test]
async fn panics_of_the_service_are_contained() {
    let both = both().await;
    let mut raw = both.raw().await;
    raw.send("GET /a/b/panic HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.text()), (500, "the service failed unexpectedly\n"));
    raw.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().text(), "a page", "the connection lives");
    raw.send("GET /a/b/panic-body HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let rest = String::from_utf8(raw.rest().await).unwrap();
    assert!(!rest.ends_with("0\r\n\r\n"), "the body does not look whole: {rest}");
    assert_eq!(both.get("/").await.answer().await.unwrap().status, 200);
    drop(raw);
    both.fixture.quiet().await;
}

#[tokio::test]
async fn the_service_knows_the_caller_and_cannot_take_the_connection() {
    let both = both().await;
    let mut raw = both.raw().await;
    let address = raw.0.local_addr().unwrap().to_string();
    raw.send("GET /a/b/caller HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().text(), address);
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_the_service_may_pause_longer_than_any_timeout() {
    let (sender, frames) = mpsc::channel(1);
    let frames = Arc::new(std::sync::Mutex::new(Some(frames)));
    let body = move || AxumBody::new(Channel(frames.lock().unwrap().take().unwrap()));
    let app = Router::new().route("/a/b/c", get(async move || body()));
    let (handed_over, incoming) = mpsc::channel::<DuplexStream>(1);
    let (routes, _seen, _runs) = probed();
    let builder = HttpServerBuilder::new(routes).with_fallback(app);
    let server = builder.serve_streams("http://h", incoming).unwrap();
    let (mut near, far) = duplex(1024);
    handed_over.send(far).await.unwrap();
    near.write_all(b"GET /a/b/c HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let mut read = String::new();
    for text in ["one", "two"] {
        tokio::time::sleep(Duration::from_secs(60 * 60)).await;
        sender.send(text).await.unwrap();
        while !read.ends_with(&format!("{text}\r\n")) {
            read.push(char::from(near.read_u8().await.unwrap()));
        }
    }
    drop((sender, server));
}

#[tokio::test]
async fn panics_of_clones_and_destructors_end_no_connection() {
    let both = both().await;
    let mut raw = both.get("/a/b/panic-drop").await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    raw.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().text(), "a page");

    let (routes, seen, runs) = probed();
    let builder = HttpServerBuilder::new(routes).with_fallback(Unclonable);
    let stats = builder.stats();
    let server = builder.serve("http://127.0.0.1:0").await.unwrap();
    let fixture = Fixture { server, stats, seen, runs };
    let mut raw = fixture.raw().await;
    for _ in 0..2 {
        raw.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.text().contains("secret")), (500, false));
    }
}
