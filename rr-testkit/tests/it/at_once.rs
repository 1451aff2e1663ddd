//! Calls over memory whose handlers answer when they are entered, without a task of their own.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rr_spi::{
    Code, Context, Declared, Delivery, Error, Request, Requester, Responder, Response, Route,
    Routes, async_trait,
};
use rr_testkit::{Loopback, loopback};
use tokio::time::Instant;

fn routes(responder: impl Responder) -> Routes {
    let mut routes = Routes::new();
    let route = Route::Target("at.once".into());
    routes.insert(route, Declared::Unspecified, Arc::new(responder)).unwrap();
    routes
}

fn request(body: impl Into<rr_spi::Bytes>) -> Request {
    Request::new("at.once".try_into().unwrap(), body)
}

struct Echo;

#[async_trait]
impl Responder for Echo {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        Ok(Response::new(request.body))
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_loop_of_them_lets_others_run() {
    let client = loopback(routes(Echo));
    let told = Arc::new(AtomicBool::new(false));
    let other = tokio::spawn({
        let told = Arc::clone(&told);
        async move { told.store(true, Ordering::SeqCst) }
    });
    for _ in 0..10_000 {
        client.request(&Context::background(), request("")).await.unwrap();
        if told.load(Ordering::SeqCst) {
            return other.await.unwrap();
        }
    }
    panic!("nobody else ran meanwhile");
}

/// Computes for longer than its caller waits.
struct Computes;

#[async_trait]
impl Responder for Computes {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        Ok(Response::new(request.body))
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_answer_that_was_computed_past_the_deadline_is_none() {
    let client = loopback(routes(Computes));
    let ctx = Context::background().with_timeout(Duration::from_millis(10));
    let error = client.request(&ctx, request("")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
}

/// Calls itself, as often as the body is long.
struct CallsItself(Arc<OnceLock<Loopback>>);

#[async_trait]
impl Responder for CallsItself {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        if request.body.is_empty() {
            return Ok(Response::new("the end"));
        }
        let next = self::request(request.body.slice(1..));
        self.0.get().unwrap().request(ctx, next).await
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_handler_that_calls_itself_many_times_does_not_exhaust_the_stack() {
    let own = Arc::new(OnceLock::new());
    let client = own.get_or_init(|| loopback(routes(CallsItself(Arc::clone(&own)))));
    let answer = client.request(&Context::background(), request(vec![0; 800])).await.unwrap();
    assert_eq!(answer.body, "the end");
}
