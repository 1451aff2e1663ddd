//! A connection that is cut after any number of bytes, in either direction: whatever a call is
//! told then is true, and no request runs twice. On pipes, in virtual time, byte by byte.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::request;
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, serve_streams};
use rr_spi::{
    Code, Context, Declared, Delivery, Error, Request, Requester as _, Responder, Response, Route,
    Routes, async_trait,
};
use tokio::io::{AsyncReadExt as _, DuplexStream, copy, duplex, split};
use tokio::sync::mpsc;

/// Counts how often each request ran, by its body.
#[derive(Default)]
struct Runs(Mutex<BTreeMap<String, usize>>);

#[async_trait]
impl Responder for Runs {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        let key = String::from_utf8(request.body.to_vec()).unwrap();
        *self.0.lock().unwrap().entry(key).or_default() += 1;
        Ok(Response::new(request.body))
    }
}

impl Runs {
    fn of(&self, key: &str) -> usize {
        self.0.lock().unwrap().get(key).copied().unwrap_or(0)
    }
}

/// Where the first connection is cut; later ones are whole.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Request(u64),
    Reply(u64),
}

/// Carries bytes between two ends until so many have passed in one direction, then drops both.
/// Tells whether it was cut.
async fn carry(near: DuplexStream, far: DuplexStream, cut: Cut, was_cut: Arc<AtomicBool>) {
    let (requests, replies) = match cut {
        Cut::Request(bytes) => (bytes, u64::MAX),
        Cut::Reply(bytes) => (u64::MAX, bytes),
    };
    let ((near_out, mut near_in), (far_out, mut far_in)) = (split(near), split(far));
    let (mut up, mut down) = (near_out.take(requests), far_out.take(replies));
    tokio::select! {
        biased;
        _ = copy(&mut up, &mut far_in) => {}
        _ = copy(&mut down, &mut near_in) => {}
    }
    was_cut.store(up.limit() == 0 || down.limit() == 0, Ordering::SeqCst);
}

fn connect(
    sender: mpsc::Sender<DuplexStream>,
    url: &str,
    cut: Cut,
) -> (HttpRequester, Arc<AtomicBool>) {
    let (first, was_cut) = (AtomicBool::new(true), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&was_cut);
    let connect = move || {
        let (near, near_far) = duplex(4096);
        let (far_near, far) = duplex(4096);
        let (cut, told) = match first.swap(false, Ordering::SeqCst) {
            true => (cut, Arc::clone(&told)),
            false => (Cut::Request(u64::MAX), Arc::default()),
        };
        tokio::spawn(carry(near_far, far_near, cut, told));
        let sender = sender.clone();
        async move {
            sender.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(near)
        }
    };
    (HttpRequester::with_connector(url, HttpConfig::default(), connect).unwrap(), was_cut)
}

/// Compares what a call was told with what happened.
fn judge(outcome: &Result<Response, Error>, runs: usize, what: &str) {
    assert!(runs <= 1, "{what}: ran {runs} times");
    match outcome {
        Ok(_) => assert_eq!(runs, 1, "{what}"),
        Err(error) => {
            let told = [Code::Unavailable, Code::Internal].contains(&error.code());
            assert!(told, "{what}: {error:?}");
            assert_ne!(error.delivery(), Delivery::Processed, "{what}: {error:?}");
            assert!(runs == 0 || !error.delivery().is_unexecuted(), "{what}: it ran: {error:?}");
        }
    }
}

/// Makes three calls over a connection that is cut, one after another or, on HTTP/2, at once. Returns whether
/// it was cut before they were over.
async fn calls(version: &str, cut: Cut, at_once: bool) -> bool {
    let runs = Arc::new(Runs::default());
    let mut routes = Routes::new();
    let route = Route::Target("run".into());
    routes.insert(route, Declared::Unspecified, Arc::clone(&runs) as _).unwrap();
    let (sender, incoming) = mpsc::channel(4);
    let config = HttpServerConfig::default();
    let (_server, _) = serve_streams("http://pipe", incoming, routes, config).unwrap();
    let (client, was_cut) = connect(sender, &format!("http://pipe?version={version}"), cut);
    let call = |key: &'static str| {
        let client = client.clone();
        async move {
            let ctx = Context::background().with_timeout(Duration::from_secs(5));
            client.request(&ctx, request("run", key)).await
        }
    };
    let outcomes = if at_once {
        tokio::join!(call("a"), call("b"), call("c")).into()
    } else {
        [call("a").await, call("b").await, call("c").await]
    };
    // What still runs has its time.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (key, outcome) in ["a", "b", "c"].into_iter().zip(&outcomes) {
        judge(outcome, runs.of(key), &format!("{version}, {cut:?}, {key}"));
    }
    was_cut.load(Ordering::SeqCst)
}

/// Cuts one byte later each time, until the calls are over before. Returns how often.
async fn everywhere(version: &str, cut: fn(u64) -> Cut, at_once: bool) -> u64 {
    let mut bytes = 0;
    while calls(version, cut(bytes), at_once).await {
        bytes += 1;
        assert!(bytes < 5_000, "the calls never end");
    }
    bytes
}

/// Fewest bytes that three calls on one connection take in either direction, so that a test which cuts nothing fails.
const BYTES_MIN: u64 = 150;

#[tokio::test(start_paused = true)]
async fn cut_requests_of_http_1_are_judged_rightly() {
    assert!(everywhere("h1", Cut::Request, false).await > BYTES_MIN);
}

#[tokio::test(start_paused = true)]
async fn cut_replies_of_http_1_are_judged_rightly() {
    assert!(everywhere("h1", Cut::Reply, false).await > BYTES_MIN);
}

#[tokio::test(start_paused = true)]
async fn cut_requests_of_http_2_are_judged_rightly() {
    assert!(everywhere("h2c", Cut::Request, false).await > BYTES_MIN);
    assert!(everywhere("h2c", Cut::Request, true).await > BYTES_MIN);
}

#[tokio::test(start_paused = true)]
async fn cut_replies_of_http_2_are_judged_rightly() {
    assert!(everywhere("h2c", Cut::Reply, false).await > BYTES_MIN);
    assert!(everywhere("h2c", Cut::Reply, true).await > BYTES_MIN);
}
