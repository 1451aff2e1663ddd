//! Which connections a requester keeps, which of them it uses, and when it makes another one.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester};
use rr_spi::{Error, Requester as _, Response};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// A request that has arrived: the number of its connection, and what lets its reply go.
type Arrived = (usize, oneshot::Sender<()>);

/// A server that replies, when it is told to, with the number of the connection.
struct Numbered {
    requests: mpsc::UnboundedReceiver<Arrived>,
    serving: JoinHandle<()>,
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Numbered {
    async fn start() -> (Self, String) {
        let (script, url) = Script::bind().await;
        let (arrived, requests) = mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                // Not by `Script::accept`, which waits for ten seconds at most.
                let stream = script.accept_any().await;
                connections.spawn(answer(stream, number, arrived.clone()));
            }
        });
        (Self { requests, serving }, url)
    }

    async fn next(&mut self) -> Arrived {
        within(self.requests.recv()).await.unwrap()
    }
}

async fn answer(mut stream: TcpStream, number: usize, arrived: mpsc::UnboundedSender<Arrived>) {
    loop {
        // The requester closes a connection that it does not keep.
        if stream.peek(&mut [0]).await.unwrap_or(0) == 0 {
            return;
        }
        read_request(&mut stream).await;
        let (release, released) = oneshot::channel();
        let _ = arrived.send((number, release));
        let _ = released.await;
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
        let _ = stream.write_all(reply.as_bytes()).await;
    }
}

type Call = JoinHandle<Result<Response, Error>>;

fn start(client: &HttpRequester) -> Call {
    let client = client.clone();
    tokio::spawn(async move { client.request(&context(), request("m", "")).await })
}

async fn answered(call: Call) -> String {
    String::from_utf8(call.await.unwrap().unwrap().body.to_vec()).unwrap()
}

/// Makes three calls that are in flight simultaneously, and ends them in the order of their
/// connections.
async fn three(client: &HttpRequester, server: &mut Numbered) {
    let mut held = Vec::new();
    for number in 0..3 {
        let call = start(client);
        let (on, release) = server.next().await;
        assert_eq!(on, number, "a call in flight has its connection for itself");
        held.push((call, release));
    }
    for (number, (call, release)) in held.into_iter().enumerate() {
        release.send(()).unwrap();
        assert_eq!(answered(call).await, number.to_string());
    }
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_first() {
    let (mut server, url) = Numbered::start().await;
    let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
    three(&client, &mut server).await;
    assert_eq!(client.connections(), 3);
    for _ in 0..3 {
        let call = start(&client);
        let (on, release) = server.next().await;
        release.send(()).unwrap();
        assert_eq!((on, &*answered(call).await), (2, "2"));
    }
    let (first, second) = (start(&client), start(&client));
    let on = [server.next().await, server.next().await];
    let mut numbers = on.map(|(on, release)| {
        release.send(()).unwrap();
        on
    });
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2], "the oldest is left alone, so that it can expire");
    answered(first).await;
    answered(second).await;
}

#[tokio::test]
async fn no_more_unused_connections_are_kept_than_allowed() {
    for idle_max in [0, 1, 2, 3] {
        let (mut server, url) = Numbered::start().await;
        let config = HttpConfig::default().with_idle_max(idle_max);
        let client = HttpRequester::new(&url, config).unwrap();
        three(&client, &mut server).await;
        assert_eq!(client.connections(), idle_max);
    }
}

#[tokio::test]
async fn no_more_connections_are_open_than_allowed() {
    let (mut server, url) = Numbered::start().await;
    let client = HttpRequester::new(&url, HttpConfig::default().with_connections_max(2)).unwrap();
    let calls: Vec<_> = (0..20).map(|_| start(&client)).collect();
    for _ in 0..20 {
        let (on, release) = server.next().await;
        assert!(on < 2 && client.connections() <= 2, "{on} of {}", client.connections());
        release.send(()).unwrap();
    }
    for call in calls {
        answered(call).await;
    }
}
