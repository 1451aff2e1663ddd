//! Connections that are replaced while calls are made: because of their age, and because the server
//! leaves.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpVersion};
use rr_spi::{IntakeConfig, Requester as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::*;

/// Number of concurrent callers.
const CALLERS: usize = 8;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A requester, and the number of connections that it has made.
fn counting(
    version: HttpVersion,
    address: impl Fn() -> String + Send + Sync + 'static,
) -> (HttpRequester, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let connect = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let address = address();
        async move { TcpStream::connect(address).await }
    };
    let config = HttpConfig::default().with_version(version);
    (HttpRequester::with_connector("http://counted", config, connect).unwrap(), made)
}

/// Calls until `end`. Every call takes some milliseconds, so that every connection is in use.
async fn call_until(client: HttpRequester, end: Instant) -> usize {
    let mut answered = 0;
    while Instant::now() < end {
        let answer = client.request(&context(), request("slow", "3")).await;
        assert_eq!(answer.expect("no call is lost").body, "done");
        answered += 1;
    }
    answered
}

fn young() -> HttpServerConfig {
    HttpServerConfig::default().with_connection_age_max(ms(100))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_connections_are_replaced_by_age() {
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let mut fixture = fixture(young()).await;
        let address = fixture.address();
        let (client, made) = counting(version, move || address.clone());
        let end = Instant::now() + ms(1500);
        let callers = (0..CALLERS).map(|_| tokio::spawn(call_until(client.clone(), end)));
        let mut answered = 0;
        for caller in Vec::from_iter(callers) {
            answered += within(caller).await.unwrap();
        }
        let made = made.load(Ordering::SeqCst);
        eprintln!("{version:?}: {answered} calls, {made} connections");
        assert!(made >= 5, "{made} connections in 1.5 s, {version:?}");
        assert_eq!(fixture.runs(), answered);
        fixture.seen.close();
        drop(client);
        fixture.quiet().await;
    }
}

/// Calls with hyper's client until `end`, as a pool of one connection does.
async fn hyper_h1(address: String, end: Instant) -> (usize, usize) {
    let (mut answered, mut made) = (0, 0);
    while Instant::now() < end {
        let stream = TcpStream::connect(&address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        made += 1;
        while Instant::now() < end && sender.ready().await.is_ok() {
            let reply = sender.send_request(post(&address)).await.expect("no call is lost");
            assert_eq!(reply.status(), StatusCode::OK);
            answered += 1;
        }
        connection.abort();
    }
    (answered, made)
}

/// As [`hyper_h1`]. A request that was not sent goes to the next connection.
async fn hyper_h2(address: String, end: Instant) -> (usize, usize) {
    let (mut answered, mut made) = (0, 0);
    while Instant::now() < end {
        let stream = TcpStream::connect(&address).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        let connection = tokio::spawn(connection);
        made += 1;
        while Instant::now() < end && sender.ready().await.is_ok() {
            match sender.try_send_request(post(&address)).await {
                Ok(reply) => assert_eq!(reply.status(), StatusCode::OK),
                Err(mut error) => {
                    let was_sent = error.take_message().is_none() && !meets_goaway(error.error());
                    assert!(!was_sent, "no call is lost: {error:?}");
                    break;
                }
            }
            answered += 1;
        }
        connection.abort();
    }
    (answered, made)
}

/// Returns whether a request met a GOAWAY that had arrived before it: hyper's client hands such a
/// request to h2, which refuses to open its stream, and does not hand it back. That it did not run is
/// shown by the number of runs.
fn meets_goaway(error: &hyper::Error) -> bool {
    let of_h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    of_h2.is_some_and(|error: &h2::Error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

fn post(address: &str) -> http::Request<Body> {
    let request = http::Request::post(format!("http://{address}/slow")).header("host", address);
    request.body(Body(Some(Bytes::from_static(b"3")))).unwrap()
}

/// Body of one piece.
#[derive(Debug)]
struct Body(Option<Bytes>);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_of_hypers_client_is_lost_when_connections_are_replaced_by_age() {
    let fixture = fixture(young()).await;
    let end = Instant::now() + ms(1500);
    let mut callers = Vec::new();
    for _ in 0..CALLERS / 2 {
        callers.push(tokio::spawn(hyper_h1(fixture.address(), end)));
        callers.push(tokio::spawn(hyper_h2(fixture.address(), end)));
    }
    let mut total = 0;
    for caller in callers {
        let (answered, made) = within(caller).await.unwrap();
        assert!(made >= 5, "{made} connections in 1.5 s");
        total += answered;
    }
    assert_eq!(fixture.runs(), total);
    fixture.quiet().await;
}

#[tokio::test]
async fn an_old_connection_that_is_unused_waits_for_its_next_reply() {
    let fixture = fixture(young()).await;
    let mut raw = fixture.raw().await;
    let begin = Instant::now();
    // Unused for much longer than the age.
    let unused = tokio::time::timeout(ms(400), raw.rest()).await;
    assert!(unused.is_err(), "it was closed after {:?}", begin.elapsed());
    raw.post("/echo", "", "hi").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(raw.rest().await.is_empty());
}

#[tokio::test]
async fn a_young_connection_is_kept_and_its_age_counts_from_its_beginning() {
    let config = HttpServerConfig::default().with_connection_age_max(ms(600));
    let fixture = fixture(config).await;
    let begin = Instant::now();
    let mut raw = fixture.raw().await;
    loop {
        raw.post("/slow", "", "20").await;
        let answer = raw.answer().await.unwrap();
        if answer.header("connection") == Some("close") {
            break;
        }
    }
    assert!(begin.elapsed() >= ms(540), "90 % of the age: {:?}", begin.elapsed());
    assert!(raw.rest().await.is_empty());
}

fn lame_duck(time: Duration) -> HttpServerConfig {
    HttpServerConfig::default().with_intake(IntakeConfig::default().with_lame_duck(time))
}

async fn health(fixture: &Fixture) -> (u16, String) {
    let mut raw = fixture.raw().await;
    raw.send("GET /.well-known/rr/health HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = raw.answer().await.unwrap();
    (answer.status, answer.text().to_owned())
}

#[tokio::test]
async fn a_lame_duck_is_told_to_health_checks_and_calls_are_served() {
    let time = ms(2_000);
    let fixture = fixture(lame_duck(time)).await;
    let mut known = fixture.raw().await;
    known.post("/echo", "", "hi").await;
    assert_eq!(known.answer().await.unwrap().header("connection"), Some("keep-alive"));
    assert_eq!(health(&fixture).await, (200, r#"{"status":"serving"}"#.to_owned()));
    let begin = Instant::now();
    let served = async {
        tokio::task::yield_now().await;
        let draining = (503, r#"{"status":"draining"}"#.to_owned());
        assert_eq!(health(&fixture).await, draining);
        // In its second half, connections are asked to move.
        loop {
            known.post("/slow", "", "20").await;
            let answer = known.answer().await.unwrap();
            assert_eq!(answer.status, 200);
            if answer.header("connection") == Some("close") {
                break;
            }
        }
        assert!(begin.elapsed() >= time / 2, "{:?}", begin.elapsed());
        assert!(known.rest().await.is_empty());
        // A connection that comes nevertheless is served, and not asked again.
        let mut late = fixture.raw().await;
        for _ in 0..2 {
            late.post("/echo", "", "hi").await;
            let answer = late.answer().await.unwrap();
            assert_eq!(answer.status, 200);
            assert_ne!(answer.header("connection"), Some("close"));
        }
        assert_eq!(health(&fixture).await, draining);
        // The second shutdown ends the lame duck.
        fixture.server.shutdown(ms(5_000)).await
    };
    let (first, second) =
        within(async { tokio::join!(fixture.server.shutdown(ms(5_000)), served) }).await;
    assert_eq!((first, first.aborted, first.refused), (second, 0, 0));
    fixture.quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_clients_move_during_a_lame_duck() {
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let (old, new) = (fixture(lame_duck(ms(1_000))).await, fixture(young()).await);
        let addresses = [old.address(), new.address()];
        // As a load balancer that has noticed sends new connections elsewhere.
        let is_told = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_told);
        let (client, _) =
            counting(version, move || addresses[usize::from(told.load(Ordering::SeqCst))].clone());
        let end = Instant::now() + ms(3_000);
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(call_until(client.clone(), end))).collect();
        eventually("calls are under way", || old.runs() > 5 * CALLERS).await;
        let shutdown = old.server.shutdown(ms(5_000));
        let notice = async {
            while health(&old).await.0 == 200 {}
            is_told.store(true, Ordering::SeqCst);
        };
        let (report, ()) = within(async { tokio::join!(shutdown, notice) }).await;
        let mut answered = 0;
        for caller in callers {
            answered += within(caller).await.unwrap();
        }
        assert_eq!((report.aborted, report.refused), (0, 0), "{report:?}, {version:?}");
        assert_eq!(old.runs() + new.runs(), answered);
        assert!(new.runs() > 0);
    }
}
