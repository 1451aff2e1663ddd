//! How connections are made: within calls and beyond them. On tokio's paused clock, over pipes.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Probe, context, request, told};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, serve_streams};
use rr_spi::{
    Code, Context, Declared, Delivery, Error, Requester as _, Response, Route, Routes, Server,
};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

const VERSIONS: [&str; 2] = ["version=h1", "version=h2c&h2_streams_max=1"];

/// A connect that takes so long never ends.
const HANGS: u64 = u64::MAX;

/// A server on pipes that take their time to be made.
struct Slow {
    /// Time of the next connects in milliseconds.
    takes: Arc<AtomicU64>,
    /// Connects that have begun.
    begun: Arc<AtomicUsize>,
    client: HttpRequester,
    _server: Server,
}

fn slow(takes: u64, query: &str) -> Slow {
    let probe = Arc::new(Probe { seen: mpsc::unbounded_channel().0, runs: Arc::default() });
    let mut routes = Routes::new();
    for name in ["echo", "slow"] {
        let route = Route::Target(name.into());
        routes.insert(route, Declared::Unspecified, Arc::clone(&probe) as _).unwrap();
    }
    let (sender, incoming) = mpsc::channel::<DuplexStream>(4);
    let config = HttpServerConfig::default();
    let (server, _) = serve_streams("http://pipe", incoming, routes, config).unwrap();
    let (takes, begun) = (Arc::new(AtomicU64::new(takes)), Arc::new(AtomicUsize::new(0)));
    let connect = {
        let (takes, begun) = (Arc::clone(&takes), Arc::clone(&begun));
        move || {
            begun.fetch_add(1, Ordering::SeqCst);
            let (takes, sender) = (takes.load(Ordering::SeqCst), sender.clone());
            async move {
                if takes == HANGS {
                    return pending().await;
                }
                sleep(Duration::from_millis(takes)).await;
                let (near, far) = duplex(1024);
                sender.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
                Ok(near)
            }
        }
    };
    let url = format!("http://pipe?{query}");
    let client = HttpRequester::with_connector(&url, HttpConfig::default(), connect).unwrap();
    Slow { takes, begun, client, _server: server }
}

impl Slow {
    async fn echo(&self, millis: u64) -> Result<Response, Error> {
        let ctx = Context::background().with_timeout(Duration::from_millis(millis));
        self.client.request(&ctx, request("echo", "hi")).await
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_outlives_its_call_and_serves_the_next() {
    for query in VERSIONS {
        let slow = slow(50, query);
        let error = slow.echo(20).await.unwrap_err();
        assert_eq!(
            told(&error),
            (Code::DeadlineExceeded, Delivery::NotSent, Some("expired-connecting"))
        );
        sleep(Duration::from_millis(15)).await;
        // This one begins while the first dial is under way, and takes what comes of it.
        assert_eq!(slow.echo(20).await.unwrap().body, "hi", "{query}");
        for _ in 0..10 {
            slow.echo(20).await.unwrap();
        }
        assert_eq!((slow.begun(), slow.client.connections()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_whose_call_has_ended_is_kept_for_later() {
    for query in VERSIONS {
        let slow = slow(50, query);
        slow.echo(20).await.unwrap_err();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(slow.client.connections(), 1);
        slow.takes.store(HANGS, Ordering::SeqCst);
        slow.echo(20).await.unwrap();
        assert_eq!(slow.begun(), 1, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_a_connection_that_becomes_free_while_its_own_hangs() {
    for query in VERSIONS {
        let slow = slow(0, query);
        let ctx = context();
        let busy = slow.client.request(&ctx, request("slow", "50"));
        let second = async {
            sleep(Duration::from_millis(10)).await;
            slow.takes.store(HANGS, Ordering::SeqCst);
            let start = Instant::now();
            (slow.echo(200).await, start.elapsed())
        };
        let (first, (second, elapsed)) = tokio::join!(busy, second);
        first.unwrap();
        assert_eq!(second.unwrap().body, "hi", "{query}");
        assert!(elapsed < Duration::from_millis(50), "{elapsed:?}");
        assert_eq!(slow.begun(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn dials_that_hang_are_bounded_and_a_later_one_serves() {
    let slow = slow(HANGS, "version=h1&connections_max=4");
    let start = Instant::now();
    for _ in 0..100 {
        slow.echo(1).await.unwrap_err();
    }
    assert_eq!((start.elapsed().as_millis(), slow.begun()), (100, 1));
    for _ in 0..1000 {
        slow.echo(1).await.unwrap_err();
    }
    assert_eq!(slow.begun(), 4, "the next after 250 ms each, and no more than places");
    // They end with the connect timeout.
    slow.takes.store(0, Ordering::SeqCst);
    sleep(Duration::from_secs(5)).await;
    slow.echo(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_behind_a_dial_that_hangs_has_one_of_its_own_after_250_ms() {
    let slow = slow(HANGS, "version=h1");
    slow.echo(1).await.unwrap_err();
    slow.takes.store(10, Ordering::SeqCst);
    let start = Instant::now();
    slow.echo(1000).await.unwrap();
    assert_eq!(start.elapsed().as_millis(), 259);
}

#[tokio::test(start_paused = true)]
async fn dials_end_with_their_requester() {
    for query in VERSIONS {
        let (held, mut ended) = mpsc::channel::<()>(1);
        let connect = move || {
            let held = held.clone();
            async move {
                let _held = held;
                pending::<io::Result<DuplexStream>>().await
            }
        };
        let url = format!("http://pipe?{query}");
        let client = HttpRequester::with_connector(&url, HttpConfig::default(), connect).unwrap();
        let ctx = Context::background().with_timeout(Duration::from_millis(1));
        client.request(&ctx, request("echo", "")).await.unwrap_err();
        let start = Instant::now();
        drop(client);
        assert_eq!(ended.recv().await, None);
        assert_eq!(start.elapsed(), Duration::ZERO, "{query}");
    }
}
