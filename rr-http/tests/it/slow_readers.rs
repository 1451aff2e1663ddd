//! Clients that read slowly: above the rate of a write timeout they get everything, below it they are
//! let go. On pipes and tokio's paused clock.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Probe, eventually};
use bytes::Bytes;
use h2::client::SendRequest;
use rr_http::{HttpServerConfig, HttpServerStats, serve_streams};
use rr_spi::{Declared, IntakeConfig, Route, Routes, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Write timeout of the servers, and how often their clients read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const TENTH: Duration = Duration::from_secs(3);

/// Length of the replies.
const LENGTH: usize = 100_000;

/// A tenth of what must leave within a write timeout, and a little more.
const STEADY: usize = 2048;

struct Rig {
    sender: mpsc::Sender<DuplexStream>,
    server: Server,
    stats: HttpServerStats,
}

/// Serves the probe's `big` and `medium` with so many bytes for bodies.
fn rig(bodies_bytes_max: usize) -> Rig {
    let probe = Arc::new(Probe { seen: mpsc::unbounded_channel().0, runs: Arc::default() });
    let mut routes = Routes::new();
    for target in ["big", "medium"] {
        let route = Route::Target(target.into());
        routes.insert(route, Declared::Unspecified, Arc::clone(&probe) as Arc<_>).unwrap();
    }
    let (sender, incoming) = mpsc::channel(1);
    let config = HttpServerConfig::default()
        .with_write_timeout(WRITE_TIMEOUT)
        .with_intake(IntakeConfig::default().with_bodies_bytes_max(bodies_bytes_max));
    let (server, stats) = serve_streams("http://pipe", incoming, routes, config).unwrap();
    Rig { sender, server, stats }
}

impl Rig {
    /// Connects with a pipe that holds so many bytes.
    async fn connect(&self, holds: usize) -> DuplexStream {
        let (near, far) = duplex(holds);
        self.sender.send(far).await.unwrap();
        near
    }

    /// Asks for a reply over HTTP/1.1.
    async fn ask(&self, holds: usize) -> DuplexStream {
        let mut near = self.connect(holds).await;
        let ask =
            b"POST /big HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        near.write_all(ask).await.unwrap();
        near
    }

    /// Connects over HTTP/2, with a window of so many bytes for each reply.
    async fn connect_h2(
        &self,
        holds: usize,
        window: usize,
    ) -> (SendRequest<Bytes>, JoinHandle<()>) {
        let near = self.connect(holds).await;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(u32::try_from(window).unwrap());
        let (send, connection) = builder.handshake(near).await.unwrap();
        (send, tokio::spawn(async move { drop(connection.await) }))
    }
}

/// Reads at most `step` bytes every tenth of a write timeout, and returns how many came in all.
async fn trickle(mut near: DuplexStream, step: usize) -> usize {
    let (mut all, mut buffer) = (0, vec![0; step]);
    loop {
        match near.read(&mut buffer).await {
            Ok(0) | Err(_) => return all,
            Ok(read) => all += read,
        }
        sleep(TENTH).await;
    }
}

/// Asks for a reply, and returns its body as it is yet to come.
async fn ask_h2(mut send: SendRequest<Bytes>, target: &str) -> h2::RecvStream {
    let request = http::Request::post(format!("http://h/{target}")).body(()).unwrap();
    let (reply, _) = send.send_request(request, true).unwrap();
    reply.await.unwrap().into_body()
}

/// Asks for a reply, reads a window every tenth of a write timeout, and returns how many bytes came,
/// and with what the stream was reset.
async fn trickle_h2(send: SendRequest<Bytes>, target: &str) -> (usize, Option<h2::Reason>) {
    let (mut body, mut all) = (ask_h2(send, target).await, 0);
    loop {
        match body.data().await {
            None => return (all, None),
            Some(Err(error)) => return (all, error.reason()),
            Some(Ok(data)) => {
                all += data.len();
                sleep(TENTH).await;
                let _ = body.flow_control().release_capacity(data.len());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn over_http_1_a_byte_now_and_then_is_no_progress_and_a_slow_steady_reader_gets_all() {
    let rig = rig(usize::MAX);
    let start = Instant::now();
    let came = trickle(rig.ask(64).await, 1).await;
    assert!(came < 200, "{came}");
    // What lay in the pipe is read on after the connection was closed.
    eventually("it is closed", || rig.stats.connections() == 0).await;
    assert!(start.elapsed() >= WRITE_TIMEOUT);

    let start = Instant::now();
    let came = trickle(rig.ask(STEADY).await, STEADY).await;
    assert!(came > LENGTH, "the head comes too: {came}");
    assert!(start.elapsed() > 4 * WRITE_TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_byte_now_and_then_is_no_progress_and_a_slow_steady_reader_gets_all() {
    let rig = rig(usize::MAX);
    let (send, _connection) = rig.connect_h2(64 * 1024, 1).await;
    let start = Instant::now();
    let (came, reason) = trickle_h2(send.clone(), "big").await;
    assert_eq!(reason, Some(h2::Reason::CANCEL), "{came}");
    assert!(came <= 11, "{came}");
    assert!((WRITE_TIMEOUT..WRITE_TIMEOUT + 2 * TENTH).contains(&start.elapsed()));
    assert_eq!(rig.stats.connections(), 1, "its connection serves on");

    let (send, _connection) = rig.connect_h2(64 * 1024, STEADY).await;
    let start = Instant::now();
    assert_eq!(trickle_h2(send, "big").await, (LENGTH, None));
    assert!(start.elapsed() > 4 * WRITE_TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_reply_of_at_most_64_kib_takes_its_time_or_ends_its_connection() {
    let rig = rig(usize::MAX);
    let (send, _connection) = rig.connect_h2(64 * 1024, 1800).await;
    let start = Instant::now();
    assert_eq!(trickle_h2(send, "medium").await, (40_000, None));
    assert!(start.elapsed() > 2 * WRITE_TIMEOUT, "{:?}", start.elapsed());

    let (send, connection) = rig.connect_h2(64 * 1024, 1).await;
    let start = Instant::now();
    let (came, reason) = trickle_h2(send, "medium").await;
    assert!(came <= 22 && reason.is_none_or(|reason| reason != h2::Reason::CANCEL), "{came}");
    connection.await.unwrap();
    assert!((WRITE_TIMEOUT..2 * WRITE_TIMEOUT + 2 * TENTH).contains(&start.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_moves_does_not_save_another_one_of_its_connection() {
    let rig = rig(usize::MAX);
    let (send, _connection) = rig.connect_h2(64 * 1024, STEADY).await;
    let moving = tokio::spawn(trickle_h2(send.clone(), "big"));
    let mut stuck = ask_h2(send, "big").await;
    let start = Instant::now();
    let error = loop {
        if let Err(error) = stuck.data().await.expect("the reply cannot end") {
            break error;
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert!((WRITE_TIMEOUT..WRITE_TIMEOUT + TENTH).contains(&start.elapsed()));
    assert_eq!(moving.await.unwrap(), (LENGTH, None));
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_taken_byte_by_byte_leave_the_budget_to_others_in_time() {
    let rig = rig(10 * LENGTH);
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(tokio::spawn(trickle(rig.ask(64).await, 1)));
    }
    sleep(TENTH).await;
    assert!(rig.server.bodies_bytes() > 7 * LENGTH, "{}", rig.server.bodies_bytes());
    sleep(WRITE_TIMEOUT + TENTH).await;
    assert_eq!(rig.server.bodies_bytes(), 0);
    assert!(trickle(rig.ask(64 * 1024).await, LENGTH).await > LENGTH);
}
