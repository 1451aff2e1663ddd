//! The order of layers around routes: the effects of another order, row by row of the book's table
//! (docs/src/retries.md#the-order-of-layers).

use std::sync::Arc;

use rr_core::dedup::Deduplicate;
use rr_core::limit::{ConcurrencyConfig, ConcurrencyLimit, RateConfig, RateLimit};
use rr_core::{
    Context, Delivery, Error, Idempotency, IdempotencyKey, Local, Reason, Request, Requester,
    Response, Router, Stack,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::overload::support::Shared;
use crate::retry::support::ms;

async fn slow(_: Context, _: Request) -> Result<Response, Error> {
    sleep(ms(1000)).await;
    Ok(Response::new("done"))
}

fn routes() -> Router {
    Router::new().route("a.slow", slow)
}

fn request() -> Request {
    Request::new("a.slow".try_into().unwrap(), "")
}

/// Starts a call, and lets it come as far as it does without time.
async fn start(client: &Arc<Local>, request: Request) -> JoinHandle<Result<Response, Error>> {
    let client = Arc::clone(client);
    let call = tokio::spawn(async move { client.request(&Context::background(), request).await });
    sleep(ms(1)).await;
    call
}

#[tokio::test(start_paused = true)]
async fn a_limit_inside_of_deduplication_does_not_count_duplicates_that_wait() {
    let in_flight = async |in_order: bool| {
        let limit = Arc::new(ConcurrencyLimit::fixed(100));
        let (shared, dedup) = (Shared(Arc::clone(&limit)), Deduplicate::in_process());
        let router = match in_order {
            true => routes().with(shared).with(dedup),
            false => routes().with(dedup).with(shared),
        };
        let client = Arc::new(Local::new(router));
        let key = Idempotency::Keyed(IdempotencyKey::new("cart-7").unwrap());
        let mut calls = Vec::new();
        for _ in 0..10 {
            calls.push(start(&client, request().with_idempotency(key.clone())).await);
        }
        let in_flight = limit.in_flight();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        in_flight
    };
    assert_eq!(in_flight(true).await, 10);
    assert_eq!(in_flight(false).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_inside_of_a_concurrency_limit_lets_calls_above_the_rate_wait() {
    let reason = async |in_order: bool| {
        let rate = RateLimit::new(RateConfig::default().with_calls_per_second(1).with_burst(1));
        let waits = ConcurrencyConfig::default().with_wait_max(ms(50));
        let limit = ConcurrencyLimit::fixed(1).with_config(waits);
        let router = match in_order {
            true => routes().with(rate).with(limit),
            false => routes().with(limit).with(rate),
        };
        let client = Arc::new(Local::new(router));
        let running = start(&client, request()).await;
        let begin = Instant::now();
        let error = client.request(&Context::background(), request()).await.unwrap_err();
        let waited = begin.elapsed();
        running.await.unwrap().unwrap();
        (error.reason().cloned(), waited)
    };
    assert_eq!(reason(true).await, (Some(Reason::RATE_LIMITED), ms(0)));
    assert_eq!(reason(false).await, (Some(Reason::OVERLOADED), ms(50)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_in_a_stack_around_a_handler_cannot_state_that_the_handler_did_not_run() {
    let refused = async |in_order: bool| {
        let limit = ConcurrencyLimit::fixed(1);
        let router = match in_order {
            true => routes().with(limit),
            false => Router::new().service("a", Stack::new(routes()).with(limit)),
        };
        let client = Arc::new(Local::new(router));
        let running = start(&client, request()).await;
        let error = client.request(&Context::background(), request()).await.unwrap_err();
        running.await.unwrap().unwrap();
        error.delivery()
    };
    assert_eq!(refused(true).await, Delivery::Rejected);
    assert_eq!(refused(false).await, Delivery::Processed);
}
