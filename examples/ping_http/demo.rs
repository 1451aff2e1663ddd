//! A few more methods, for peers in other languages to call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rr_core::{AppError, Context, Error, HandlerExt, Request, Response, Router};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Name {
    // A Protobuf client leaves out what is empty.
    #[serde(default)]
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    greeting: String,
}

/// The greeter's own error.
#[derive(Serialize, Deserialize)]
struct NoName {
    hint: String,
}

impl AppError for NoName {
    const TYPE: &'static str = "greeter.v1.NoName";
}

async fn greet(Name { name }: Name) -> Result<Greeting, NoName> {
    if name.is_empty() {
        return Err(NoName { hint: "say who you are".into() });
    }
    Ok(Greeting { greeting: format!("Hello, {name}!") })
}

/// Answers with the body and the `x-` headers of the request.
async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    let mut headers = request.headers;
    let names: Vec<String> = headers.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| !name.starts_with("x-")) {
        headers.remove(name);
    }
    Ok(Response::new(request.body).with_headers(headers))
}

async fn fail(_: Context, _: Request) -> Result<Response, Error> {
    panic!("this text stays in the server's log")
}

#[derive(Deserialize)]
struct Nap {
    millis: u64,
}

/// What has become of the naps so far.
#[derive(Default)]
struct Naps {
    started: AtomicU64,
    finished: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Serialize)]
struct Stats {
    started: u64,
    finished: u64,
    dropped: u64,
}

/// Counts a nap as dropped unless it was finished.
struct Napping<'a>(&'a Naps);

impl Drop for Napping<'_> {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

async fn sleep(naps: Arc<Naps>, nap: Nap) -> Result<(), Error> {
    naps.started.fetch_add(1, Ordering::SeqCst);
    let napping = Napping(&naps);
    tokio::time::sleep(Duration::from_millis(nap.millis)).await;
    std::mem::forget(napping);
    naps.finished.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

async fn stats(naps: Arc<Naps>) -> Result<Stats, Error> {
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    Ok(Stats {
        started: count(&naps.started),
        finished: count(&naps.finished),
        dropped: count(&naps.dropped),
    })
}

/// Routes the methods.
pub(crate) fn router() -> Router {
    let naps = Arc::new(Naps::default());
    let counted = Arc::clone(&naps);
    Router::new()
        .route("echo", echo)
        .route("greeter.v1.Greet", greet)
        .route("demo.Sleep", move |nap: Nap| sleep(Arc::clone(&naps), nap))
        .route("demo.Stats", (move |(): ()| stats(Arc::clone(&counted))).safe())
        .route("demo.Panic", fail)
}
