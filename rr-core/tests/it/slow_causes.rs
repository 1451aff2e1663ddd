//! Slow calls, each with its cause injected: the error tells where the time went.

#![cfg(all(feature = "http", feature = "memory", feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::future::pending;
use std::time::Duration;

use rr_core::config::{ClientConfig, HttpSection, TlsConfig};
use rr_core::observe::Stage;
use rr_core::retry::RetryDecision;
use rr_core::{
    Client, Code, Context, Delivery, Error, Reason, Request, RequesterExt, Response, Router,
    Server, connect, connect_with, recommended, serve,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::authority::Authority;

/// Timeout of the calls whose clock is real.
const TIMEOUT: Duration = Duration::from_millis(600);

/// Most of [`TIMEOUT`] that a busy machine may spend on other things than the injected cause.
const SLACK: Duration = Duration::from_millis(300);

async fn hang(_: Context, _: Request) -> Result<Response, Error> {
    pending().await
}

async fn hanging() -> Server {
    serve("http://127.0.0.1:0", Router::new().route("hang", hang)).await.unwrap()
}

/// Makes a call that fails by its timeout.
async fn expired(client: &Client, body: impl Into<rr_core::Bytes>) -> Error {
    let error = failed(client, body).await;
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
    error
}

async fn failed(client: &Client, body: impl Into<rr_core::Bytes>) -> Error {
    let ctx = Context::background().with_timeout(TIMEOUT);
    client.call_raw(&ctx, "hang", body).await.unwrap_err()
}

/// Asserts that nearly all of the time went into one stage, and that the account begins with it.
#[track_caller]
fn assert_slow(error: &Error, stage: Stage, begins: &str) {
    let (timeline, account) = (error.timeline().unwrap(), error.account().to_string());
    let (_, longest) = account.split_once(" of ").unwrap();
    let (_, longest) = longest.split_once(' ').unwrap();
    assert!(longest.starts_with(begins), "{account}");
    assert!(timeline.spent(stage) + SLACK > timeline.total(), "{account}");
    assert!(timeline.total() + SLACK > TIMEOUT, "{account}");
    assert_eq!(timeline.last(), stage, "{account}");
}

#[tokio::test]
async fn a_full_pool_is_named_with_its_limit() {
    let server = hanging().await;
    let client = connect(&format!("{}?connections_max=2", server.url())).await.unwrap();
    let _held = two_calls(&server, &client).await;
    let error = expired(&client, "").await;
    let why = "waiting for a connection: 2 of 2 connections in use";
    assert_slow(&error, Stage::Connection, why);
    assert_eq!(error.reason(), Some(&Reason::EXPIRED_CONNECTING));
    assert_eq!(error.delivery(), Delivery::NotSent);
}

/// Makes two calls that are in flight until the set is dropped.
async fn two_calls(server: &Server, client: &Client) -> JoinSet<Result<Response, Error>> {
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let client = client.clone();
        calls.spawn(async move {
            let ctx = Context::background().with_timeout(Duration::from_secs(60));
            client.call_raw(&ctx, "hang", "").await
        });
    }
    while server.in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    calls
}

#[tokio::test]
async fn streams_that_are_all_in_use_are_named() {
    let server = hanging().await;
    let query = "version=h2c&h2_streams_max=2&h2_connections_max=1";
    let client = connect(&format!("{}?{query}", server.url())).await.unwrap();
    let _held = two_calls(&server, &client).await;
    let error = expired(&client, "").await;
    let why = "waiting for a place among the calls in flight: 2 of 2 streams in use";
    assert_slow(&error, Stage::Place, why);
    assert_eq!(error.reason(), Some(&Reason::EXPIRED_WAITING));
}

/// Returns a listener whose queue is full, so that connecting to it never completes.
#[cfg(target_os = "linux")]
async fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let (address, pause) = (listener.local_addr().unwrap(), Duration::from_millis(100));
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(pause, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    (listener, queued)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn packets_that_nobody_answers_are_a_slow_connect() {
    let (listener, _queued) = black_hole().await;
    for version in ["h1", "h2c"] {
        let url = format!("http://{}?version={version}", listener.local_addr().unwrap());
        let error = expired(&connect(&url).await.unwrap(), "").await;
        assert_slow(&error, Stage::Connect, "connecting");
        assert_eq!(error.reason(), Some(&Reason::EXPIRED_CONNECTING));
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_client_hello_is_a_slow_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let roots = TlsConfig::default().with_roots(Authority::new("a").pem());
    let config = ClientConfig::from(HttpSection::default().with_tls(roots));
    for version in ["auto", "h1", "h2"] {
        let url = format!("https://{}?version={version}", listener.local_addr().unwrap());
        let client = connect_with(&url, config.clone()).await.unwrap();
        let error = expired(&client, "").await;
        assert_slow(&error, Stage::Handshake, "in the handshake");
        assert_eq!(error.delivery(), Delivery::NotSent);
        // The dial itself ends first, and its error tells the same.
        let url = format!("{url}&connect_timeout={}ms", TIMEOUT.as_millis());
        let client = connect_with(&url, config.clone()).await.unwrap();
        let ctx = Context::background().with_timeout(TIMEOUT * 50);
        let error = client.call_raw(&ctx, "hang", "").await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::CONNECT_FAILED), "{error:?}");
        assert_slow(&error, Stage::Handshake, "in the handshake");
    }
}

#[tokio::test]
async fn a_slow_handler_is_a_wait_for_the_reply() {
    let server = hanging().await;
    for version in ["h1", "h2c"] {
        let client = connect(&format!("{}?version={version}", server.url())).await.unwrap();
        client.ready(&Context::background()).await.unwrap();
        let error = expired(&client, "").await;
        assert_slow(&error, Stage::AwaitingReply, "waiting for the reply");
        assert_eq!(error.reason(), Some(&Reason::EXPIRED_AWAITING_REPLY));
        assert_eq!(error.delivery(), Delivery::Unknown);
    }
}

#[tokio::test]
async fn a_reply_whose_rest_does_not_come_is_slow_to_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = connect(&url).await.unwrap();
    let serving = async {
        let mut stream = listener.accept().await.unwrap().0;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 9\r\n\r\nhalf";
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let (error, _stream) = tokio::join!(expired(&client, ""), serving);
    assert_slow(&error, Stage::ReadingReply, "reading the reply");
    assert_eq!(error.reason(), Some(&Reason::EXPIRED_READING));
}

/// SETTINGS of HTTP/2 with an initial window of 0, and the acknowledgement of those of the client.
const SETTINGS_WITHOUT_WINDOW: &[u8] =
    b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

#[tokio::test]
async fn an_exhausted_window_is_a_wait_to_send() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}?version=h2c", listener.local_addr().unwrap());
    let client = connect(&url).await.unwrap();
    let serving = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        stream.write_all(SETTINGS_WITHOUT_WINDOW).await.unwrap();
        let mut read = [0; 4096];
        while stream.read(&mut read).await.is_ok_and(|bytes| bytes > 0) {}
    });
    // The server reads all that comes, and grants no window for more.
    let error = expired(&client, vec![7; 200_000]).await;
    assert_slow(&error, Stage::Sending, "waiting to send the request");
    assert_eq!(error.reason(), Some(&Reason::EXPIRED_SENDING));
    assert_eq!(error.delivery(), Delivery::Unknown, "a part of it was sent");
    serving.abort();
}

#[cfg(feature = "nats")]
#[tokio::test]
async fn a_broker_that_is_gone_is_a_wait_for_its_connection() {
    let nats = rr_testkit::NatsServer::start().await.unwrap();
    let client = connect(&format!("{}?connection_wait=60s", nats.url())).await.unwrap();
    client.ready(&Context::background()).await.unwrap();
    drop(nats);
    // The first call may be the one that notices the loss.
    let mut error = failed(&client, "").await;
    while error.delivery() != Delivery::NotSent {
        error = failed(&client, "").await;
    }
    assert_slow(&error, Stage::Connection, "waiting for a connection: reconnecting for");
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_are_named() {
    let client = connect("memory://nobody-serves-this").await.unwrap();
    let client = recommended(client);
    let begin = Instant::now();
    let ctx = Context::background().with_timeout(Duration::from_secs(10));
    let request = Request::new("hang".try_into().unwrap(), "");
    let error = rr_core::Requester::request(&client, &ctx, request).await.unwrap_err();
    let paused = error.attempts().iter().filter_map(|attempt| match attempt.decision {
        Some(RetryDecision::Again(pause)) => Some(pause),
        _ => None,
    });
    let paused: Duration = paused.sum();
    // A pause ends with a tick of the timer, which is a millisecond.
    let ticks = Duration::from_millis(error.attempts().len() as u64);
    assert!(!paused.is_zero() && begin.elapsed() - paused <= ticks, "{}", error.report());
    let account = error.account().to_string();
    let expected = format!("{paused:.2?} of {paused:.2?} pausing before another attempt");
    assert_eq!(account, expected);
}
