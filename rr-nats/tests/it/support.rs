//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may")]

#[cfg(feature = "tls")]
#[path = "../../../rr-tls/tests/it/authority.rs"]
pub mod authority;
mod counted;
mod delay;
#[cfg(feature = "nkeys")]
pub mod operator;
mod stall;

#[allow(unused_imports, reason = "each test uses a part of it")]
pub use counted::Counted;
#[allow(unused_imports, reason = "each test uses a part of it")]
pub use delay::Delay;
#[allow(unused_imports, reason = "each test uses a part of it")]
pub use stall::Stall;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_nats::NatsRequester;
use rr_spi::{
    Code, Context, Declared, Delivery, Error, Request, Requester, Responder, Response, Route,
    Routes, Target, async_trait,
};
use rr_testkit::{NatsServer, NatsServerSetup};
use tokio::sync::Notify;

pub struct Do<F>(pub F);

#[async_trait]
impl<F, T> Responder for Do<F>
where
    F: Fn(Context, Request) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Response, Error>> + Send + 'static,
{
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        (self.0)(ctx.clone(), request).await
    }
}

/// Routes targets one by one: `with(routes, name, handler)`.
pub fn with<F, T>(mut routes: Routes, name: &str, handler: F) -> Routes
where
    F: Fn(Context, Request) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Response, Error>> + Send + 'static,
{
    let route = Route::Target(name.to_owned());
    routes.insert(route, Declared::Unspecified, Arc::new(Do(handler))).unwrap();
    routes
}

pub fn route<F, T>(name: &str, handler: F) -> Routes
where
    F: Fn(Context, Request) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Response, Error>> + Send + 'static,
{
    with(Routes::new(), name, handler)
}

/// Answers with body and headers of the request.
pub async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body).with_headers(request.headers))
}

pub async fn nats() -> NatsServer {
    NatsServer::start().await.unwrap()
}

pub async fn nats_with(setup: &NatsServerSetup) -> NatsServer {
    NatsServer::start_with(setup).await.unwrap()
}

pub async fn client(url: &str) -> NatsRequester {
    let client = NatsRequester::connect(url).await.unwrap();
    client.ready(&within(5000)).await.unwrap();
    client
}

/// Waits until the server announces so many members of its cluster, itself among them.
///
/// A client that connects by `url` afterwards is connected to this member and knows the others. With
/// several hosts in its URL, a busy machine decides which one it is connected to.
pub async fn announced(url: &str, members: usize) {
    let announced = async {
        // What a member announces is read at connect: before it knew the others, there was none.
        while async_nats::connect(url).await.unwrap().server_info().connect_urls.len() < members {
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(announced).await.unwrap();
}

pub fn within(millis: u64) -> Context {
    Context::background().with_timeout(Duration::from_millis(millis))
}

pub fn request(target: &str, body: impl Into<rr_spi::Bytes>) -> Request {
    Request::new(Target::parse(target).unwrap(), body)
}

pub async fn call(client: &NatsRequester, ctx: &Context, target: &str) -> Result<Response, Error> {
    client.request(ctx, request(target, "x")).await
}

pub fn told(outcome: Result<Response, Error>) -> (Code, Delivery, Option<String>) {
    let error = outcome.unwrap_err();
    (error.code(), error.delivery(), error.reason().map(|reason| reason.as_str().to_owned()))
}

pub fn reason(token: &str) -> Option<String> {
    Some(token.to_owned())
}

/// Counts, and lets a test wait for a count.
#[derive(Default)]
pub struct Count(AtomicUsize, Notify);

impl Count {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.notify_waiters();
    }

    pub fn now(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub async fn reaches(&self, wanted: usize) {
        let wait = async {
            loop {
                let mut changed = std::pin::pin!(self.1.notified());
                changed.as_mut().enable();
                if self.now() >= wanted {
                    return;
                }
                changed.await;
            }
        };
        let waited = within(10_000).race(wait).await;
        assert!(waited.is_ok(), "count is {} and not {wanted} after 10 s", self.now());
    }
}

/// Counts up when it is dropped.
pub struct OnDrop(pub Arc<Count>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.up();
    }
}
