//! The order of layers around calls: the effects of another order, row by row of the book's table
//! (docs/src/retries.md#the-order-of-layers).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_core::balance::{Balance, Endpoint};
use rr_core::hedge::{Hedge, HedgeConfig};
use rr_core::limit::{ConcurrencyLimit, RateConfig, RateLimit};
use rr_core::observe::{End, Kind, Observe, Observer, Observers};
use rr_core::retry::{Retry, RetryConfig};
use rr_core::throttle::Throttle;
use rr_core::transport::SeededEntropy;
use rr_core::{
    Code, Context, Delivery, Error, Middleware, Next, Request, Requester, Response, Stack,
    async_trait,
};
use tokio::time::{Instant, sleep};

use crate::overload::support::Shared;
use crate::retry::support::*;

type Client = Stack<Arc<Script>>;

/// Layers on the way to a script, the outermost first.
fn stack(script: &Arc<Script>, outer: impl Middleware, inner: impl Middleware) -> Client {
    Stack::new(Arc::clone(script)).with(outer).with(inner)
}

fn retries() -> Retry {
    retry(RetryConfig::default())
}

/// Counts the reports of calls.
#[derive(Clone, Default)]
struct Reports(Arc<AtomicU64>);

impl Observer for Reports {
    fn observes(&self, kind: Kind) -> bool {
        kind == Kind::ClientCall
    }

    fn ended(&self, _: &End<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn observation_inside_of_retry_reports_attempts_as_calls() {
    let reported = async |in_order: bool| {
        let (script, reports) = (Script::broken(lost()), Reports::default());
        let observe = Observe::new(Observers::new(reports.clone()));
        let client = match in_order {
            true => stack(&script, observe, retries()),
            false => stack(&script, retries(), observe),
        };
        client.request(&within(9000), idempotent()).await.unwrap_err();
        reports.0.load(Ordering::Relaxed)
    };
    assert_eq!(reported(true).await, 1);
    assert_eq!(reported(false).await, 3);
}

/// A deadline of 10 s where it stands.
struct TenSeconds;

#[async_trait]
impl Middleware for TenSeconds {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        next.run(&ctx.with_timeout(ms(10_000)), request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_inside_of_retry_gives_each_attempt_the_whole_time() {
    let ended = async |in_order: bool| {
        let script = Script::new([Step::Fail(ms(9000), lost())]);
        let client = match in_order {
            true => stack(&script, TenSeconds, retries()),
            false => stack(&script, retries(), TenSeconds),
        };
        let begin = Instant::now();
        client.request(&within(3_600_000), idempotent()).await.unwrap_err();
        begin.elapsed().as_secs()
    };
    assert_eq!(ended(true).await, 10);
    assert_eq!(ended(false).await, 27);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_inside_of_retry_counts_attempts_as_calls() {
    let dropped = async |in_order: bool| {
        let (script, throttle) =
            (Script::broken(unavailable(Delivery::Unknown)), Arc::new(Throttle::new()));
        let shared = Shared(Arc::clone(&throttle));
        let client = match in_order {
            true => stack(&script, shared, retries()),
            false => stack(&script, retries(), shared),
        };
        for _ in 0..20 {
            client.request(&within(9000), idempotent()).await.unwrap_err();
        }
        throttle.dropped_per_mille(&plain().target)
    };
    assert_eq!(dropped(true).await, 0, "20 calls failed, which are free");
    assert!(dropped(false).await > 0, "60 attempts failed");
}

/// Answers so many calls in 10 ms, and then follows other steps.
fn warm(then: Step) -> Arc<Script> {
    Script::new((0..10).map(|_| Step::Answer(ms(10))).chain([then]))
}

async fn warm_up(client: &Client) {
    for _ in 0..10 {
        client.request(&within(9000), idempotent()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn retry_inside_of_hedging_repeats_the_second_request_too() {
    let sent = async |in_order: bool| {
        // Two of the three attempts may have a second request, or the one call.
        let hedge = Hedge::with_config(HedgeConfig::default().with_extra_percent(10));
        let script = warm(Step::Fail(ms(50), lost()));
        let client = match in_order {
            true => stack(&script, retries(), hedge),
            false => stack(&script, hedge, retries()),
        };
        warm_up(&client).await;
        client.request(&within(9000), idempotent()).await.unwrap_err();
        script.seen().len() - 10
    };
    assert_eq!(sent(true).await, 4, "one second request");
    assert_eq!(sent(false).await, 6, "one second request, sent three times");
}

#[tokio::test(start_paused = true)]
async fn hedging_inside_of_a_limit_is_not_counted() {
    let in_flight = async |in_order: bool| {
        let limit = Arc::new(ConcurrencyLimit::fixed(10));
        let hedge = Hedge::with_config(HedgeConfig::default().with_extra_percent(100));
        let (script, shared) = (warm(Step::Hang), Shared(Arc::clone(&limit)));
        let client = match in_order {
            true => stack(&script, hedge, shared),
            false => stack(&script, shared, hedge),
        };
        warm_up(&client).await;
        let call = tokio::spawn(async move { client.request(&within(9000), idempotent()).await });
        sleep(ms(100)).await;
        assert_eq!(script.seen().len(), 12, "the call has a second request");
        call.abort();
        limit.in_flight()
    };
    assert_eq!(in_flight(true).await, 2);
    assert_eq!(in_flight(false).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_outside_of_retry_is_held_during_pauses() {
    let in_flight = async |in_order: bool| {
        let limit = Arc::new(ConcurrencyLimit::fixed(10));
        let script = Script::new([Step::Fail(ms(0), lost()), Step::Answer(ms(0))]);
        let shared = Shared(Arc::clone(&limit));
        let client = match in_order {
            true => stack(&script, retries(), shared),
            false => stack(&script, shared, retries()),
        };
        let call = tokio::spawn(async move { client.request(&within(9000), idempotent()).await });
        // The pause takes 25 ms.
        sleep(ms(10)).await;
        let in_flight = limit.in_flight();
        call.await.unwrap().unwrap();
        in_flight
    };
    assert_eq!(in_flight(true).await, 0);
    assert_eq!(in_flight(false).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_outside_of_retry_does_not_count_attempts() {
    let sent = async |in_order: bool| {
        let rate = RateConfig::default().with_calls_per_second(1).with_burst(1);
        let (script, rate) = (Script::broken(lost()), RateLimit::new(rate));
        let client = match in_order {
            true => stack(&script, retries(), rate),
            false => stack(&script, rate, retries()),
        };
        client.request(&within(500), idempotent()).await.unwrap_err();
        script.seen().len()
    };
    assert_eq!(sent(true).await, 1);
    assert_eq!(sent(false).await, 3, "in half a second, at a rate of one per second");
}

/// A balance over a replica that fails and one that answers.
fn over(replicas: [Arc<dyn Requester>; 2]) -> Balance {
    let named = replicas.into_iter().enumerate();
    let endpoints = named.map(|(at, replica)| Endpoint::new(at.to_string(), replica));
    Balance::new(endpoints).unwrap().with_entropy(SeededEntropy::new(4))
}

#[tokio::test(start_paused = true)]
async fn retry_inside_of_a_balance_repeats_a_call_at_the_replica_that_failed_it() {
    let failed = async |in_order: bool| {
        let dead = Script::new([Step::Fail(ms(1), lost())]);
        let alive = Script::new([Step::Answer(ms(1))]);
        let client: Arc<dyn Requester> = match in_order {
            true => Arc::new(Stack::new(over([dead, alive])).with(retries())),
            false => {
                let retried =
                    |script| -> Arc<dyn Requester> { Arc::new(Stack::new(script).with(retries())) };
                Arc::new(over([retried(dead), retried(alive)]))
            }
        };
        let mut failed = 0;
        for _ in 0..100 {
            let outcome = client.request(&within(9000), idempotent()).await;
            failed += u32::from(outcome.is_err_and(|error| error.code() == Code::Unavailable));
        }
        failed
    };
    assert_eq!(failed(true).await, 0, "another attempt finds the other replica");
    assert!(failed(false).await > 0);
}
