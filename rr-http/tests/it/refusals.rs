//! What a refusal by an HTTP/2 frame proves, and which request is sent again for it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;
use rr_http::HttpRequester;
use rr_spi::{Code, Delivery, Error, Requester as _, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Types of frames, a flag, and codes (RFC 9113 §6, §7).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// A server written by hand: no library keeps it from contradicting the requests it has read.
struct Peer(TcpStream);

impl Peer {
    async fn accept(script: &Script) -> Self {
        let mut stream = script.accept().await;
        stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await.unwrap();
        let mut peer = Self(stream);
        peer.write(SETTINGS, 0, 0, &[]).await;
        peer
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await.unwrap();
    }

    /// Reads up to the head of the next request and returns its stream; `None` at the end.
    async fn next(&mut self) -> Option<u32> {
        loop {
            let mut head = [0; 9];
            within(self.0.read_exact(&mut head)).await.ok()?;
            let [_, _, _, kind, _, id @ ..] = head;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            within(self.0.read_exact(&mut vec![0; length as usize])).await.ok()?;
            if kind == HEADERS {
                return Some(u32::from_be_bytes(id));
            }
        }
    }

    async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    async fn goaway(&mut self, last: u32, code: u32) {
        self.write(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await;
    }

    async fn reply(&mut self, stream: u32, body: &str) {
        // `:status: 200` is the 8th entry of the static table (RFC 7541 §6.1).
        self.write(HEADERS, END_HEADERS, stream, &[0x88]).await;
        self.write(DATA, END_STREAM, stream, body.as_bytes()).await;
    }
}

async fn client(url: &str, query: &str) -> HttpRequester {
    HttpRequester::connect(&format!("{url}?version=h2c{query}")).await.unwrap()
}

async fn call(client: &HttpRequester) -> Result<Response, Error> {
    within(client.request(&context(), request("svc.m", "body"))).await
}

/// Serves connections for ever, each by `serve`, and counts their requests.
fn run<F>(script: Script, serve: impl Fn(Peer, Arc<AtomicUsize>) -> F + Send + 'static) -> Counted
where
    F: Future<Output = ()> + Send + 'static,
{
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let peer = Peer::accept(&script).await;
            tokio::spawn(serve(peer, Arc::clone(&counted)));
        }
    });
    Counted(requests)
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn requests(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

const UNKNOWN: (Code, Delivery, Option<&str>) = (Code::Unavailable, Delivery::Unknown, None);
const REJECTED: (Code, Delivery, Option<&str>) = (Code::Unavailable, Delivery::Rejected, None);

#[tokio::test]
async fn a_refused_stream_is_unknown_unless_the_config_believes_it() {
    for (query, expected) in [
        ("", UNKNOWN),
        ("&refusals=none", UNKNOWN),
        ("&refusals=goaway", UNKNOWN),
        ("&refusals=all", REJECTED),
    ] {
        let (script, url) = Script::bind().await;
        let counted = run(script, |mut peer, requests| async move {
            while let Some(id) = peer.next().await {
                requests.fetch_add(1, Ordering::SeqCst);
                peer.reset(id, REFUSED_STREAM).await;
            }
        });
        let error = call(&client(&url, query).await).await.unwrap_err();
        assert_eq!(told(&error), expected, "{query}");
        assert_eq!(counted.requests(), 1, "{query}");
    }
}

#[tokio::test]
async fn a_call_that_a_goaway_does_not_count_is_sent_again_on_another_connection() {
    let (script, url) = Script::bind().await;
    let server = tokio::spawn(async move {
        let mut first = Peer::accept(&script).await;
        assert_eq!(first.next().await, Some(1));
        first.goaway(0, NO_ERROR).await;
        let mut second = Peer::accept(&script).await;
        assert_eq!(second.next().await, Some(1));
        second.reply(1, "second").await;
        (first, second)
    });
    let client = client(&url, "").await;
    assert_eq!(call(&client).await.unwrap().body, "second");
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_second_goaway_says_rejected_and_a_third_connection_is_not_tried() {
    let (script, url) = Script::bind().await;
    let counted = run(script, |mut peer, requests| async move {
        while peer.next().await.is_some() {
            requests.fetch_add(1, Ordering::SeqCst);
            peer.goaway(0, NO_ERROR).await;
        }
    });
    let error = call(&client(&url, "").await).await.unwrap_err();
    assert_eq!(told(&error), REJECTED);
    assert_eq!(counted.requests(), 2);
}

#[tokio::test]
async fn a_goaway_proves_nothing_where_the_config_does_not_believe_it() {
    let (script, url) = Script::bind().await;
    let counted = run(script, |mut peer, requests| async move {
        while peer.next().await.is_some() {
            requests.fetch_add(1, Ordering::SeqCst);
            peer.goaway(0, NO_ERROR).await;
        }
    });
    let error = call(&client(&url, "&refusals=none").await).await.unwrap_err();
    assert_eq!(told(&error), UNKNOWN);
    assert_eq!(counted.requests(), 1);
}

#[tokio::test]
async fn a_call_that_a_goaway_counts_is_unknown_and_not_sent_again() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let (script, url) = Script::bind().await;
        let counted = run(script, move |mut peer, requests| async move {
            let id = peer.next().await.unwrap();
            requests.fetch_add(1, Ordering::SeqCst);
            peer.goaway(id, code).await;
        });
        let error = call(&client(&url, "&refusals=all").await).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Unknown, "{code}: {error:?}");
        assert_eq!(counted.requests(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_server_that_closes_each_connection_after_20_streams_costs_no_call() {
    let (script, url) = Script::bind().await;
    let counted = run(script, |mut peer, requests| async move {
        let mut answered = 0;
        while let Some(id) = peer.next().await {
            // What comes after the GOAWAY has crossed it, and is dropped as nginx and Node do.
            if answered == 20 {
                continue;
            }
            answered += 1;
            requests.fetch_add(1, Ordering::SeqCst);
            peer.reply(id, "ok").await;
            if answered == 20 {
                peer.goaway(id, NO_ERROR).await;
            }
        }
    });
    let client = client(&url, "").await;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    assert_eq!(call(&client).await.unwrap().body, "ok");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(counted.requests(), 400);
}
