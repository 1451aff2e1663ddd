//! Clients that are silent, slow, or do not read: what they are told, and when they are let go.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use rr_http::HttpServerConfig;
use rr_spi::IntakeConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

/// A timeout that is waited for.
const SHORT: Duration = Duration::from_millis(60);

/// More replies of 100 kB than the buffers of a connection take.
const REPLIES: usize = 100;

fn config() -> HttpServerConfig {
    HttpServerConfig::default()
}

/// Asks for more than its buffers take.
async fn greedy(fixture: &Fixture) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    let stream = socket.connect(fixture.address().parse().unwrap()).await.unwrap();
    let mut raw = Raw(stream);
    for _ in 0..REPLIES {
        raw.post("/big", "", "").await;
    }
    raw
}

/// An HTTP/2 client that grants each reply a window of `window` bytes, and no more.
struct H2 {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl H2 {
    async fn connect(fixture: &Fixture, window: u32) -> Self {
        let socket = fixture.raw().await.0;
        let mut builder = h2::client::Builder::new();
        let (send, connection) =
            builder.initial_window_size(window).handshake(socket).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    /// Begins a call with a body that is yet to come.
    async fn begin(&mut self, path: &str, length: usize) -> (ResponseFuture, SendStream<Bytes>) {
        self.send = self.send.clone().ready().await.unwrap();
        let request =
            http::Request::post(format!("http://h{path}")).header("content-length", length);
        self.send.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Makes a call and returns its status and the body, as it is yet to come.
    async fn call(&mut self, path: &str, body: &'static str) -> http::Response<h2::RecvStream> {
        let (response, mut stream) = self.begin(path, body.len()).await;
        stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
        within(response).await.unwrap()
    }
}

fn bodies(bytes_max: usize) -> IntakeConfig {
    IntakeConfig::default().with_bodies_bytes_max(bytes_max)
}

#[tokio::test]
async fn clients_that_do_not_read_their_replies_give_their_places_back() {
    let fixture = fixture(config().with_connections_max(3).with_write_timeout(SHORT)).await;
    let mut greedy_ones = Vec::new();
    for _ in 0..3 {
        greedy_ones.push(greedy(&fixture).await);
    }
    let mut raw = fixture.raw().await;
    raw.post("/echo", "", "hi").await;
    assert_eq!(raw.answer().await.unwrap().text(), "hi");
    drop(raw);
    fixture.quiet().await;
    for mut greedy in greedy_ones {
        assert!(greedy.rest().await.len() < REPLIES * 100_000);
    }
}

#[tokio::test]
async fn a_client_that_asks_for_ever_and_reads_nothing_is_let_go_though_the_replies_are_empty() {
    let fixture = fixture(config().with_write_timeout(SHORT)).await;
    let mut raw = fixture.raw().await;
    let header = format!("x-long: {}\r\n", "v".repeat(8000));
    let request = format!("POST /echo HTTP/1.1\r\nhost: h\r\n{header}\r\n");
    let asking = async { while raw.0.write_all(request.as_bytes()).await.is_ok() {} };
    within(asking).await;
    fixture.quiet().await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_it_and_is_not_taken_for_unused() {
    let fixture = fixture(config().with_idle_timeout(SHORT)).await;
    let mut raw = greedy(&fixture).await;
    for _ in 0..5 {
        // Nothing is asked for meanwhile.
        tokio::time::sleep(SHORT * 2).await;
        for _ in 0..REPLIES / 5 {
            assert_eq!(raw.answer().await.expect("a reply").body.len(), 100_000);
        }
    }
    assert_eq!(fixture.runs(), REPLIES);
}

/// Reads a body without granting more of a window, and returns what ended it.
async fn ended(mut body: h2::RecvStream) -> h2::Error {
    within(async {
        loop {
            if let Err(error) = body.data().await.expect("the reply cannot end") {
                return error;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_reply_without_write_progress_is_reset_and_its_connection_serves_on() {
    for (window, path) in [(0, "/big"), (10, "/big"), (0, "/fail")] {
        let fixture = fixture(config().with_write_timeout(SHORT)).await;
        let mut h2 = H2::connect(&fixture, window).await;
        let stuck = h2.call(path, "").await.into_body();
        assert_eq!(ended(stuck).await.reason(), Some(h2::Reason::CANCEL), "{window} {path}");
        assert_eq!(h2.call("/echo", "").await.status(), 200);
        assert_eq!(fixture.stats.connections(), 1);
    }
}

#[tokio::test]
async fn a_small_reply_that_never_leaves_ends_its_connection() {
    // Its stream has been ended with its data, and a window of a byte took the first of them.
    let fixture = fixture(config().with_write_timeout(SHORT)).await;
    let mut h2 = H2::connect(&fixture, 1).await;
    let reply = h2.call("/echo", "hello").await;
    let _ = within(h2.connection).await.unwrap();
    fixture.quiet().await;
    drop(reply);
}

#[tokio::test]
async fn replies_hold_their_bytes_until_they_have_left_and_one_too_many_is_an_error() {
    let config = config().with_intake(bodies(1_000_000)).with_write_timeout(10 * SHORT);
    let fixture = fixture(config).await;
    let mut h2 = H2::connect(&fixture, 0).await;
    let mut held = Vec::new();
    let refused = loop {
        let reply = h2.call("/big", "").await;
        match reply.status().as_u16() {
            200 => held.push(reply),
            _ => break reply,
        }
        assert!(held.len() < 10, "the budget takes no more than ten");
    };
    assert!(held.len() >= 3, "{}", held.len());
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["rr-reason"], "overloaded");
    // It ran or did not, and says which.
    let ran = if refused.headers()["rr-delivery"] == "processed" { 1 } else { 0 };
    assert_eq!(fixture.runs(), held.len() + ran);
    assert!(fixture.server.bodies_bytes() >= held.len() * 100_000);

    // What one connection holds leaves some for another one.
    let mut raw = fixture.raw().await;
    raw.post("/echo", "", "hi").await;
    assert_eq!(raw.answer().await.unwrap().text(), "hi");

    // All of them are reset in time, and give their bytes back.
    drop((held, refused));
    eventually("the budget is whole again", || fixture.server.bodies_bytes() == 0).await;
}

#[tokio::test]
async fn a_handler_may_take_longer_than_a_write_and_than_an_unused_connection() {
    let fixture = fixture(config().with_write_timeout(SHORT).with_idle_timeout(SHORT)).await;
    let mut h2 = H2::connect(&fixture, 65_535).await;
    assert_eq!(h2.call("/slow", "300").await.status(), 200);
    let mut raw = fixture.raw().await;
    raw.post("/slow", "", "300").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.text(), "done");
    assert_eq!(answer.header("connection"), Some("keep-alive"));
}

#[tokio::test]
async fn an_unused_connection_is_closed_in_time_whatever_its_version() {
    let fixture = fixture(config().with_idle_timeout(SHORT)).await;
    let mut raw = fixture.raw().await;
    raw.post("/echo", "", "hi").await;
    assert_eq!(raw.answer().await.unwrap().text(), "hi");
    let mut h2 = H2::connect(&fixture, 65_535).await;
    let mut body = h2.call("/echo", "hi").await.into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "hi");
    assert!(raw.rest().await.is_empty());
    // It is told that it ends, rather than cut.
    within(h2.connection).await.unwrap().unwrap();
    let never = H2::connect(&fixture, 65_535).await;
    within(never.connection).await.unwrap().unwrap();
    fixture.quiet().await;
}

#[tokio::test]
async fn a_connection_that_began_with_a_busy_handler_is_watched_as_well() {
    let fixture = fixture(config().with_idle_timeout(SHORT)).await;
    let mut raw = fixture.raw().await;
    raw.post("/busy", "", "").await;
    assert_eq!(raw.answer().await.unwrap().text(), "done");
    assert!(raw.rest().await.is_empty());
    fixture.quiet().await;
}

#[tokio::test]
async fn a_head_must_end_in_time_however_slowly_it_comes() {
    let fixture = fixture(config().with_header_read_timeout(SHORT)).await;
    let mut raw = fixture.raw().await;
    raw.send("POST /echo HTTP/1.1\r\nx-slow: ").await;
    let trickle = async {
        while raw.0.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    within(trickle).await;
    fixture.quiet().await;
}

#[tokio::test]
async fn the_time_for_a_head_begins_with_its_first_byte() {
    let fixture = fixture(config().with_header_read_timeout(SHORT)).await;
    let mut raw = fixture.raw().await;
    for _ in 0..3 {
        raw.post("/echo", "", "hi").await;
        let answer = raw.answer().await.expect("it was kept while it was unused");
        assert_eq!(answer.text(), "hi");
        tokio::time::sleep(SHORT * 2).await;
    }
    raw.send("POST /echo HTTP/1.1\r\n").await;
    assert!(raw.rest().await.is_empty());
    fixture.quiet().await;
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_is_taken_to_be_gone() {
    let mut fixture = fixture(config()).await;
    let mut raw = fixture.raw().await;
    raw.post("/hang", "", "").await;
    assert_eq!(fixture.next().await, Seen::Began);
    raw.0.shutdown().await.unwrap();
    assert_eq!(fixture.next().await, Seen::Cancelled(rr_spi::Cause::PeerGone));
    assert!(raw.rest().await.is_empty());
    fixture.quiet().await;
}

#[tokio::test]
async fn a_silent_client_and_one_that_stops_inside_the_preface_are_closed() {
    let fixture = fixture(config().with_first_bytes_timeout(SHORT)).await;
    for sent in ["", "PRI * HTTP/2.0\r\n"] {
        let mut raw = fixture.raw().await;
        raw.send(sent).await;
        assert!(raw.rest().await.is_empty(), "{sent}");
    }
    fixture.quiet().await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_refused_in_time() {
    let fixture = fixture(config().with_body_read_timeout(SHORT)).await;
    let mut raw = fixture.raw().await;
    raw.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhe").await;
    let answer = raw.answer().await.unwrap();
    answer.assert_error(504, "deadline_exceeded", "rejected");
    assert!(answer.text().contains("the body did not arrive in time"), "{answer:?}");
    assert_eq!(fixture.runs(), 0);
    raw.rest().await;
    fixture.quiet().await;
}

#[tokio::test]
async fn a_deadline_that_passes_before_the_body_has_come_is_told_as_such() {
    let fixture = fixture(config()).await;
    let mut raw = fixture.raw().await;
    let head = "POST /echo HTTP/1.1\r\nhost: h\r\nconnect-timeout-ms: 30\r\ncontent-length: 5\r\n";
    raw.send(&format!("{head}\r\nhe")).await;
    let answer = raw.answer().await.unwrap();
    answer.assert_error(504, "deadline_exceeded", "rejected");
    assert!(answer.text().contains("the deadline passed"), "{answer:?}");
    assert_eq!(fixture.runs(), 0);
}

/// Begins a request with a body of so many bytes, and waits until it is being read.
async fn slow_body(fixture: &Fixture, length: &str) -> Raw {
    let mut raw = fixture.raw().await;
    let head = "POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue";
    raw.send(&format!("{head}\r\n{length}\r\n\r\n")).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw
}

#[tokio::test]
async fn requests_share_a_budget_and_one_too_many_is_refused_before_its_body() {
    let fixture = fixture(config().with_intake(bodies(300))).await;
    let mut first = slow_body(&fixture, "content-length: 200").await;
    let mut second = fixture.raw().await;
    let head = "POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue";
    second.send(&format!("{head}\r\ncontent-length: 101\r\n\r\n")).await;
    // No request asks for it.
    let refused = second.answer().await.unwrap();
    refused.assert_error(429, "resource_exhausted", "rejected");
    assert_eq!(refused.header("rr-reason"), Some("overloaded"));

    // Without a length, what has come is what counts.
    let mut chunked = slow_body(&fixture, "transfer-encoding: chunked").await;
    chunked.send(&format!("64\r\n{}\r\n", "x".repeat(100))).await;
    chunked.send("1\r\nx\r\n").await;
    chunked.answer().await.unwrap().assert_error(429, "resource_exhausted", "rejected");

    // It makes no difference whether a body comes with its head.
    let mut quick = fixture.raw().await;
    quick.post("/echo", "", &"x".repeat(150)).await;
    quick.answer().await.unwrap().assert_error(429, "resource_exhausted", "rejected");
    assert_eq!(fixture.runs(), 0);

    first.send(&"x".repeat(200)).await;
    assert_eq!(first.answer().await.unwrap().body.len(), 200);
    let none = || fixture.server.bodies_bytes() == 0;
    eventually("the reply has left", none).await;
    let mut third = slow_body(&fixture, "content-length: 300").await;
    third.send(&"x".repeat(300)).await;
    assert_eq!(third.answer().await.unwrap().body.len(), 300);
}

#[tokio::test]
async fn the_streams_of_one_connection_cannot_hold_more_bodies_than_their_part() {
    const LENGTH: usize = 100_000;
    // A quarter is for connections that hold little, and half of the rest for others.
    let fixture = fixture(config().with_intake(bodies(6 * LENGTH))).await;
    let mut h2 = H2::connect(&fixture, 65_535).await;
    let mut begun = Vec::new();
    for _ in 0..8 {
        let (response, stream) = h2.begin("/echo", LENGTH).await;
        begun.push((tokio::spawn(response), stream));
    }
    let answered = || begun.iter().filter(|(response, _)| response.is_finished()).count();
    eventually("those over the budget are answered", || answered() == 6).await;
    for (at, (response, mut stream)) in begun.into_iter().enumerate() {
        if at < 2 {
            stream.send_data(vec![b'x'; LENGTH].into(), true).unwrap();
        }
        let expected = if at < 2 { 200 } else { 429 };
        assert_eq!(within(response).await.unwrap().unwrap().status(), expected, "{at}");
    }
    assert_eq!(fixture.runs(), 2);
}

#[tokio::test]
async fn a_kept_connection_says_how_long_it_is_kept() {
    let fixture = fixture(config()).await;
    let mut raw = fixture.raw().await;
    for hint in [Some("timeout=75"), None] {
        raw.post("/echo", "", "hi").await;
        assert_eq!(raw.answer().await.unwrap().header("keep-alive"), hint);
    }
    let mut closing = fixture.raw().await;
    closing.post("/echo", "connection: close\r\n", "hi").await;
    let answer = closing.answer().await.unwrap();
    assert_eq!((answer.header("keep-alive"), answer.text()), (None, "hi"));

    // Shorter than load balancers think, every reply says so.
    let fixture = self::fixture(config().with_idle_timeout(Duration::from_secs(7))).await;
    let mut raw = fixture.raw().await;
    for _ in 0..2 {
        raw.post("/echo", "", "hi").await;
        assert_eq!(raw.answer().await.unwrap().header("keep-alive"), Some("timeout=7"));
    }
}
