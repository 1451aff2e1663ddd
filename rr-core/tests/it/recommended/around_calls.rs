//! The layers of `recommended` hold back only calls to a service that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_core::{
    Code, Context, Delivery, Error, Local, Reason, Request, Requester, Response, Router,
    async_trait, recommended, retry::RetryHint,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::retry::support::*;

/// Makes calls of this request in turn, and returns how many were held back.
async fn held_back(client: &impl Requester, calls: usize, request: &Request) -> usize {
    let mut held_back = 0;
    for _ in 0..calls {
        let outcome = client.request(&within(1000), request.clone()).await;
        held_back += usize::from(outcome.is_err_and(|error| is_throttled(&error)));
    }
    held_back
}

fn is_throttled(error: &Error) -> bool {
    error.reason() == Some(&Reason::THROTTLED)
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_service_that_is_away_are_held_back_with_an_explanation() {
    let script = Script::broken(unavailable(Delivery::Unknown));
    let client = recommended(Arc::clone(&script));
    assert_eq!(held_back(&client, 20, &plain()).await, 0, "the failures that are free");
    let held_back = held_back(&client, 980, &plain()).await;
    assert!((600..900).contains(&held_back), "{held_back} of 980");
    assert_eq!(script.seen().len(), 1000 - held_back);
    let error = loop {
        match client.request(&within(1000), plain()).await {
            Err(error) if is_throttled(&error) => break error,
            outcome => drop(outcome),
        }
    };
    assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, Delivery::NotSent));
    assert_eq!(error.retry(), RetryHint::Never);
    assert!(error.message().contains("the service accepted 0 of 1"), "{}", error.message());
    assert!(error.hint().contains("look for the cause at the service"), "{}", error.hint());
}

#[tokio::test(start_paused = true)]
async fn a_few_failures_of_an_idle_client_hold_nothing_back() {
    let script = Script::broken(unavailable(Delivery::Unknown));
    let client = recommended(Arc::clone(&script));
    for _ in 0..120 {
        assert_eq!(held_back(&client, 1, &plain()).await, 0);
        sleep(ms(500)).await;
    }
    assert_eq!(script.seen().len(), 120);
}

#[tokio::test(start_paused = true)]
async fn errors_of_handlers_hold_nothing_back() {
    for code in [
        Code::NotFound,
        Code::InvalidArgument,
        Code::Unavailable,
        Code::ResourceExhausted,
        Code::DeadlineExceeded,
        Code::Internal,
    ] {
        let runs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&runs);
        let handler = move |_: Context, _: Request| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { Err::<Response, _>(Error::new(code, "the handler decided so")) }
        };
        let client = recommended(Local::new(Router::new().route("orders.place", handler)));
        assert_eq!(held_back(&client, 500, &plain()).await, 0, "{code:?}");
        assert_eq!(runs.load(Ordering::Relaxed), 500, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_hold_nothing_back() {
    let script = Script::new([Step::Hang]);
    let client = recommended(Arc::clone(&script));
    let ctx = Context::background();
    for _ in 0..500 {
        let call = client.request(&ctx, plain());
        assert!(timeout(ms(1), call).await.is_err(), "it is in flight");
    }
    assert_eq!(script.seen().len(), 500);
}

#[tokio::test(start_paused = true)]
async fn many_simultaneous_first_calls_reach_the_service() {
    let script = Script::new([Step::Fail(ms(100), unavailable(Delivery::Unknown))]);
    let client = Arc::new(recommended(Arc::clone(&script)));
    let mut calls = JoinSet::new();
    for _ in 0..1000 {
        let client = Arc::clone(&client);
        calls.spawn(async move { client.request(&Context::background(), plain()).await });
    }
    while let Some(outcome) = calls.join_next().await {
        assert!(!is_throttled(&outcome.unwrap().unwrap_err()));
    }
    assert_eq!(script.seen().len(), 1000);
}

/// Destination of two services, one of which is away.
struct HalfAway;

#[async_trait]
impl Requester for HalfAway {
    async fn request(&self, _: &Context, request: Request) -> Result<Response, Error> {
        match request.target.service() {
            "orders" => Err(unavailable(Delivery::Unknown)),
            _ => Ok(Response::new("done")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_does_not_affect_another_of_the_same_destination() {
    let client = recommended(HalfAway);
    assert!(held_back(&client, 1000, &plain()).await > 0);
    let other = Request::new("stock.count".try_into().unwrap(), "");
    for _ in 0..200 {
        client.request(&within(1000), other.clone()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_back_gets_every_call_within_half_a_minute() {
    let steps = (0..1000)
        .map(|_| Step::Fail(ms(0), unavailable(Delivery::Unknown)))
        .chain([Step::Answer(ms(0))]);
    let script = Script::new(steps);
    let client = recommended(Arc::clone(&script));
    while script.seen().len() < 1000 {
        held_back(&client, 1, &plain()).await;
        sleep(ms(10)).await;
    }
    for _ in 0..3000 {
        held_back(&client, 1, &plain()).await;
        sleep(ms(10)).await;
    }
    assert_eq!(held_back(&client, 500, &plain()).await, 0, "30 s after it came back");
}
