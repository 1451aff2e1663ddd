//! Connections that are too old take no more calls, so that a new server gets its share.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{context, eventually, fixture, request};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, serve_streams};
use rr_spi::{
    Context, Declared, Error, Request, Requester as _, Responder, Response, Route, Routes,
    async_trait,
};
use tokio::io::{copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

struct Slow;

#[async_trait]
impl Responder for Slow {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        if request.target.method() == "slow" {
            sleep(Duration::from_secs(200)).await;
        }
        Ok(Response::new("done"))
    }
}

/// Returns a requester over pipes, and the number of connections that it has made.
fn client(age: Duration, version: &str) -> (HttpRequester, Arc<AtomicUsize>, rr_spi::Server) {
    let mut routes = Routes::new();
    for name in ["fast", "slow"] {
        routes.insert(Route::Target(name.into()), Declared::Safe, Arc::new(Slow)).unwrap();
    }
    let (sender, incoming) = mpsc::channel(4);
    let url = "http://pipe";
    let (server, _) = serve_streams(url, incoming, routes, HttpServerConfig::default()).unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let connect = move || {
        count.fetch_add(1, Ordering::Relaxed);
        let sender = sender.clone();
        async move {
            let (near, far) = duplex(1024);
            sender.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(near)
        }
    };
    let config = HttpConfig::default().with_connection_age_max(age);
    let url = format!("{url}?version={version}");
    (HttpRequester::with_connector(&url, config, connect).unwrap(), made, server)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_after_ten_minutes_and_never_without_a_limit() {
    for (age, version, connections) in
        [(600, "h1", 3), (600, "h2c", 3), (0, "h1", 1), (0, "h2c", 1)]
    {
        let (client, made, _server) = client(Duration::from_secs(age), version);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(25 * 60) {
            client.request(&context(), request("fast", "")).await.unwrap();
            sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(made.load(Ordering::Relaxed), connections, "{version} {age}");
        assert_eq!(client.connections(), 1, "the old ones are closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_ends_on_its_old_connection_while_new_ones_use_another() {
    let (client, made, _server) = client(Duration::from_secs(100), "h2c");
    let ctx = Context::background().with_timeout(Duration::from_secs(300));
    let slow = client.request(&ctx, request("slow", ""));
    let others = async {
        for _ in 0..15 {
            sleep(Duration::from_secs(10)).await;
            client.request(&context(), request("fast", "")).await.unwrap();
        }
        (made.load(Ordering::Relaxed), client.connections())
    };
    let (slow, (made, open)) = tokio::join!(slow, others);
    assert_eq!(slow.unwrap().body, "done");
    assert_eq!((made, open), (2, 2));
    eventually("the old connection ends", || client.connections() == 1).await;
}

/// Forwards each new connection to the current address; those that exist stay.
async fn forwarder(to: Arc<Mutex<SocketAddr>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let to = *to.lock().unwrap();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_new_server_behind_the_name_gets_the_calls_within_the_age() {
    for version in ["h1", "h2c"] {
        let (old, new) = (
            fixture(HttpServerConfig::default()).await,
            fixture(HttpServerConfig::default()).await,
        );
        let address = |server: &rr_spi::Server| -> SocketAddr {
            server.url().strip_prefix("http://").unwrap().parse().unwrap()
        };
        let to = Arc::new(Mutex::new(address(&old.server)));
        let url = format!(
            "http://{}?version={version}&connection_age_max=1s",
            forwarder(Arc::clone(&to)).await
        );
        let client = HttpRequester::connect(&url).await.unwrap();
        client.request(&context(), request("echo", "")).await.unwrap();
        let begin = Instant::now();
        *to.lock().unwrap() = address(&new.server);
        while new.runs.load(Ordering::SeqCst) == 0 {
            client.request(&context(), request("echo", "")).await.unwrap();
            assert!(begin.elapsed() < Duration::from_secs(60), "{version}");
            tokio::task::yield_now().await;
        }
        assert!(begin.elapsed() > Duration::from_millis(800), "not before its time");
        eventually("the old server has no connection", || old.stats.connections() == 0).await;
    }
}
