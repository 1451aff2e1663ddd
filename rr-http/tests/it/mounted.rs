//! The service mounted in axum and in plain hyper: as the bare server, but for connections.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::marker::PhantomPinned;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request as AxumRequest};
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use bytes::Bytes;
use http_body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rr_http::{
    HttpConfig, HttpReplyBody, HttpRequester, HttpServerConfig, HttpService, HttpVersion,
};
use rr_spi::{Cause, Code, Delivery, IntakeConfig, Limits, Peer, Requester as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower_service::Service as _;

use crate::support::*;

/// A service with the probe behind every target, mounted under `/rr` next to a page.
pub(crate) struct Mounted {
    pub(crate) service: HttpService,
    pub(crate) url: String,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    pub(crate) runs: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Mounts a service in axum; `layered` wraps the whole app.
pub(crate) async fn mounted_with(
    config: HttpServerConfig,
    layered: impl FnOnce(Router) -> Router,
) -> Mounted {
    let (routes, seen, runs) = probed();
    let service = HttpService::new(routes, config);
    let app = Router::new().route("/", get(async || "a page"));
    let app = layered(app.nest_service("/rr", service.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rr", listener.local_addr().unwrap());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Mounted { service, url, seen, runs, server }
}

async fn mounted() -> Mounted {
    mounted_with(HttpServerConfig::default(), |app| app).await
}

impl Mounted {
    fn client(&self, version: HttpVersion) -> HttpRequester {
        HttpRequester::new(&self.url, HttpConfig::default().with_version(version)).unwrap()
    }

    pub(crate) async fn raw(&self) -> Raw {
        let address = self.url.trim_start_matches("http://").trim_end_matches("/rr");
        Raw(tokio::net::TcpStream::connect(address).await.unwrap())
    }

    async fn next(&mut self) -> Seen {
        within(self.seen.recv()).await.unwrap()
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

const VERSIONS: [HttpVersion; 2] = [HttpVersion::H1, HttpVersion::H2c];

#[tokio::test]
async fn a_service_answers_beside_the_routes_of_an_axum_app() {
    let mounted = mounted().await;
    for version in VERSIONS {
        let client = mounted.client(version);
        client.ready(&context()).await.unwrap();
        let reply = client.request(&context(), request("svc.echo", "hello")).await.unwrap();
        assert_eq!(reply.body, "hello");
        let error = client.request(&context(), request("fail", "")).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::NotFound, "no order 17"));
        assert_eq!(error.delivery(), Delivery::Processed);
        let error = client.request(&context(), request("panic", "")).await.unwrap_err();
        assert_eq!(told(&error), (Code::Internal, Delivery::Processed, Some("panic")));
        let error = client.request(&context(), request("nothing", "")).await.unwrap_err();
        let expected = (Code::Unimplemented, Delivery::Rejected, Some("no-such-target"));
        assert_eq!(told(&error), expected);
    }
    let mut raw = mounted.raw().await;
    raw.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().text(), "a page");
    raw.send("GET /rr/.well-known/rr/health HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().text(), r#"{"status":"serving"}"#);
    raw.send("GET /rr/safe HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    raw.post("/rr/echo", "content-encoding: br\r\n", "hi").await;
    raw.answer().await.unwrap().assert_error(415, "unimplemented", "rejected");
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_its_handler() {
    let mut mounted = mounted().await;
    for version in VERSIONS {
        let client = mounted.client(version);
        let call =
            tokio::spawn(async move { client.request(&context(), request("hang", "")).await });
        assert_eq!(mounted.next().await, Seen::Began);
        call.abort();
        assert_eq!(mounted.next().await, Seen::Cancelled(Cause::PeerGone), "{version:?}");
        assert_eq!(mounted.next().await, Seen::Dropped);
    }
    let service = mounted.service.clone();
    eventually("nothing is left", || service.in_flight() + service.http_stats().tasks() == 0).await;
}

#[tokio::test]
async fn the_deadline_of_a_call_ends_its_handler() {
    let mut mounted = mounted().await;
    let mut raw = mounted.raw().await;
    raw.post("/rr/hang", "connect-timeout-ms: 50\r\n", "").await;
    raw.answer().await.unwrap().assert_error(504, "deadline_exceeded", "processed");
    assert_eq!(mounted.next().await, Seen::Began);
    assert_eq!(mounted.next().await, Seen::Cancelled(Cause::DeadlineExceeded));
    raw.post("/rr/hang", "connect-timeout-ms: 0\r\n", "").await;
    raw.answer().await.unwrap().assert_error(504, "deadline_exceeded", "rejected");
    assert_eq!(mounted.runs(), 1);
}

#[tokio::test]
async fn a_drain_answers_what_is_in_flight_and_refuses_newcomers_for_good() {
    for version in VERSIONS {
        let mut mounted = mounted().await;
        let client = mounted.client(version);
        let slow = {
            let client = client.clone();
            tokio::spawn(async move { client.request(&context(), request("slow", "300")).await })
        };
        assert_eq!(mounted.next().await, Seen::Began);
        let drain = mounted.service.shutdown(Duration::from_secs(5));
        let newcomers = async {
            tokio::task::yield_now().await;
            let error = client.request(&context(), request("echo", "")).await.unwrap_err();
            assert_eq!(told(&error), (Code::Unavailable, Delivery::Rejected, Some("draining")));
            let mut raw = mounted.raw().await;
            raw.post("/rr/echo", "", "x").await;
            let answer = raw.answer().await.unwrap();
            answer.assert_error(503, "unavailable", "rejected");
            assert_eq!(answer.header("connection"), Some("close"));
        };
        let (report, ()) = within(async { tokio::join!(drain, newcomers) }).await;
        assert_eq!(slow.await.unwrap().unwrap().body, "done");
        assert_eq!((report.completed, report.aborted, report.refused), (1, 0, 2), "{version:?}");
        let error = client.request(&context(), request("echo", "")).await.unwrap_err();
        assert_eq!(told(&error), (Code::Unavailable, Delivery::Rejected, Some("draining")));
        let mut raw = mounted.raw().await;
        raw.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(raw.answer().await.unwrap().status, 200, "the other routes are still served");
        assert_eq!(mounted.runs(), 1);
    }
}

#[tokio::test]
async fn the_grace_ends_handlers_and_half_a_body() {
    let mut mounted = mounted().await;
    let client = mounted.client(HttpVersion::H1);
    let hang = tokio::spawn(async move { client.request(&context(), request("hang", "")).await });
    assert_eq!(mounted.next().await, Seen::Began);
    let mut body = mounted.raw().await;
    body.send("POST /rr/echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhe").await;
    let stats = mounted.service.http_stats();
    eventually("both have come", || stats.tasks() == 2).await;
    let (first, second) = (mounted.service.clone(), mounted.service.clone());
    let long = async move { first.shutdown(Duration::from_secs(60)).await };
    let short = async move { second.shutdown(Duration::from_millis(300)).await };
    let (long, short) = within(async { tokio::join!(long, short) }).await;
    assert_eq!((long.aborted, long.completed), (1, 0));
    assert_eq!(long, short);
    let error = hang.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Processed));
    assert_eq!(mounted.next().await, Seen::Cancelled(Cause::Shutdown));
    body.answer().await.unwrap().assert_error(503, "unavailable", "rejected");
    assert_eq!((mounted.runs(), stats.tasks()), (1, 0));
}

#[tokio::test]
async fn a_drain_waits_for_replies_that_have_not_left_and_not_for_refusals() {
    let (routes, _seen, _runs) = probed();
    let config = HttpServerConfig::default().with_drain_linger(Duration::ZERO);
    let mut service = HttpService::new(routes, config);
    let request = |target: &str| {
        let request = http::Request::post(target.to_owned()).header("host", "h");
        request.body(String::new()).unwrap()
    };
    let reply = service.call(request("/big")).await.unwrap();
    let held = service.bodies_bytes();
    assert!(held >= 100_000, "{held}");
    let drain = tokio::spawn({
        let service = service.clone();
        async move { service.shutdown(Duration::from_secs(60)).await }
    });
    eventually("the drain has begun", || {
        let mut service = service.clone();
        let polled = Pin::new(&mut service.call(request("/echo")))
            .poll(&mut TaskContext::from_waker(std::task::Waker::noop()));
        matches!(polled, Poll::Ready(Ok(reply)) if reply.status() == 503)
    })
    .await;
    let refused = service.call(request("/echo")).await.unwrap();
    assert!(!drain.is_finished());
    let mut body = reply.into_body();
    let mut cx = TaskContext::from_waker(std::task::Waker::noop());
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else { panic!() };
    drop(body);
    tokio::task::yield_now().await;
    assert!(!drain.is_finished(), "the bytes have not left");
    drop(frame);
    assert_eq!(within(drain).await.unwrap().completed, 0);
    assert_eq!(service.bodies_bytes(), refused.body().size_hint().lower() as usize);
}

#[tokio::test]
async fn limits_and_the_budget_of_bodies_hold() {
    let limits = Limits::default().with_request_bytes_max(10);
    let intake = IntakeConfig::default().with_limits(limits).with_bodies_bytes_max(4_000);
    let mounted = mounted_with(HttpServerConfig::default().with_intake(intake), |app| app).await;
    let client = mounted.client(HttpVersion::H1);
    let error = client.request(&context(), request("echo", "12345678901")).await.unwrap_err();
    let expected = (Code::ResourceExhausted, Delivery::Rejected, Some("request-too-large"));
    assert_eq!(told(&error), expected);
    assert_eq!(mounted.runs(), 0);
    let error = client.request(&context(), request("big", "")).await.unwrap_err();
    let expected = (Code::ResourceExhausted, Delivery::Processed, Some("overloaded"));
    assert_eq!(told(&error), expected);
    let service = mounted.service.clone();
    eventually("the bodies have left", || service.bodies_bytes() == 0).await;
    client.request(&context(), request("echo", "1234567890")).await.unwrap();
}

#[tokio::test]
async fn the_caller_is_what_the_app_puts_into_the_extensions() {
    async fn address(
        info: ConnectInfo<SocketAddr>,
        mut request: AxumRequest,
        next: Next,
    ) -> axum::response::Response {
        request.extensions_mut().insert(info.0);
        next.run(request).await
    }
    let ask = async |mounted: &Mounted| {
        let client = mounted.client(HttpVersion::H1);
        let reply = client.request(&context(), request("svc.caller", "")).await.unwrap();
        String::from_utf8(reply.body.to_vec()).unwrap()
    };
    assert_eq!(ask(&mounted().await).await, "none");
    let config = HttpServerConfig::default;
    let with_address = mounted_with(config(), |app| app.layer(from_fn(address))).await;
    assert!(ask(&with_address).await.starts_with("127.0.0.1:"));
    let peer = Peer::new().with_address("10.0.0.7:80".parse::<SocketAddr>().unwrap());
    let plain = axum::Extension(peer.clone());
    assert_eq!(ask(&mounted_with(config(), |app| app.layer(plain)).await).await, "10.0.0.7:80");
    let shared = axum::Extension(Arc::new(peer));
    assert_eq!(ask(&mounted_with(config(), |app| app.layer(shared)).await).await, "10.0.0.7:80");
}

#[tokio::test]
async fn plain_hyper_serves_it_too() {
    let (routes, _seen, _runs) = probed();
    let service = rr_http::service(routes);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    for version in VERSIONS {
        let config = HttpConfig::default().with_version(version);
        let client = HttpRequester::new(&url, config).unwrap();
        let body = vec![7; 500_000];
        let reply = client.request(&context(), request("echo", body.clone())).await.unwrap();
        assert_eq!(reply.body, body);
    }
    server.abort();
}

/// Body that is not `Unpin`, and whose frames are no `Bytes`.
struct Odd {
    frames: Mutex<VecDeque<Result<&'static [u8], &'static str>>>,
    _pinned: PhantomPinned,
}

impl Odd {
    fn new(frames: impl Into<VecDeque<Result<&'static [u8], &'static str>>>) -> Self {
        Self { frames: Mutex::new(frames.into()), _pinned: PhantomPinned }
    }
}

impl Body for Odd {
    type Data = &'static [u8];
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = self.as_ref().get_ref().frames.lock().unwrap().pop_front();
        Poll::Ready(next.map(|frame| frame.map(Frame::data)))
    }
}

#[tokio::test]
async fn bodies_of_any_kind_are_read_and_a_failing_one_is_refused() {
    let (routes, _seen, runs) = probed();
    let mut service = rr_http::service(routes);
    let request = |body| http::Request::post("/echo").header("host", "h").body(body).unwrap();
    let odd = Odd::new([Ok(&b"one "[..]), Ok(&b"two"[..])]);
    let reply = service.call(request(odd)).await.unwrap();
    assert_eq!(body_of(reply).await, "one two");
    let reply = service.call(request(Odd::new([Ok(&b"one"[..]), Err("torn")]))).await.unwrap();
    assert_eq!(reply.headers()["rr-delivery"], "rejected");
    assert_eq!(reply.status(), 400);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

async fn body_of(reply: http::Response<HttpReplyBody>) -> Bytes {
    let bytes = axum::body::to_bytes(axum::body::Body::new(reply.into_body()), usize::MAX).await;
    bytes.unwrap()
}

#[tokio::test]
async fn an_unread_body_is_discarded_and_the_reply_arrives() {
    let mounted = mounted().await;
    let mut raw = mounted.raw().await;
    // More than the sockets hold: without reading on, the client would never get to the reply.
    let length = 200_000;
    raw.send(&format!("POST /rr/nothing HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n"))
        .await;
    let answer = raw.answer().await.unwrap();
    answer.assert_error(404, "unimplemented", "rejected");
    assert_eq!(answer.header("connection"), Some("close"));
    raw.send(&"x".repeat(length)).await;
    assert!(raw.rest().await.is_empty());
    assert_eq!(mounted.runs(), 0);
}

#[test]
fn a_service_is_ready_cheap_to_clone_and_can_be_shared() {
    fn is_service<S>(_: &S)
    where
        S: tower_service::Service<http::Request<axum::body::Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
    }
    let (routes, _seen, _runs) = probed();
    let mut service = rr_http::service(routes);
    is_service(&service);
    let mut cx = TaskContext::from_waker(std::task::Waker::noop());
    let ready = tower_service::Service::<http::Request<String>>::poll_ready(&mut service, &mut cx);
    assert!(ready.is_ready());
    assert_eq!(size_of_val(&service), size_of::<usize>());
}
