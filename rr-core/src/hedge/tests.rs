//! Hedging in virtual time, with the named cases of gRPC (gRFC A6) and Finagle.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex};

use rr_spi::{
    Attempt, Code, Delivery, Error, Idempotency, Reason, Requester, async_trait, defaults,
};
use tokio::time::sleep;

use super::*;
use crate::Stack;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What becomes of a request.
#[derive(Clone)]
enum Step {
    Answer(u64),
    Fail(u64, Error),
    Hang,
}

/// Requester that follows a script; after its end, each request is answered after 10 ms.
#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    sent: Mutex<Vec<Instant>>,
    /// Requests that were dropped before their outcome.
    dropped: AtomicU64,
}

struct OnDrop<'a>(&'a AtomicU64, bool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(u64::from(!self.1), Ordering::Relaxed);
    }
}

#[async_trait]
impl Requester for Script {
    async fn request(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
        attempt.sent();
        self.sent.lock().unwrap().push(Instant::now());
        let step = self.steps.lock().unwrap().pop_front().unwrap_or(Step::Answer(10));
        let mut guard = OnDrop(&self.dropped, false);
        let outcome = attempt
            .run(async {
                match step {
                    Step::Answer(after) => {
                        sleep(ms(after)).await;
                        Ok(Response::new("done"))
                    }
                    Step::Fail(after, error) => {
                        sleep(ms(after)).await;
                        Err(error)
                    }
                    Step::Hang => pending().await,
                }
            })
            .await;
        guard.1 = true;
        outcome
    }
}

fn request() -> Request {
    Request::new("orders.find".try_into().unwrap(), "").with_idempotency(Idempotency::Safe)
}

fn unavailable(delivery: Delivery) -> Error {
    Error::failure(Code::Unavailable, delivery, Reason::CONNECTION_LOST, "cut")
}

/// A hedged client that has seen 1000 calls of 10 ms.
struct Warm {
    script: Arc<Script>,
    hedge: Arc<Hedge>,
    client: Stack<Arc<Script>>,
    ctx: Context,
}

struct Shared(Arc<Hedge>);

#[async_trait]
impl Middleware for Shared {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.0.handle(ctx, request, next).await
    }
}

impl Warm {
    async fn new(hedge: Hedge) -> Self {
        let (script, hedge) = (Arc::new(Script::default()), Arc::new(hedge));
        let client = Stack::new(Arc::clone(&script)).with(Shared(Arc::clone(&hedge)));
        let ctx = Context::background().with_timeout(ms(60_000));
        for _ in 0..1000 {
            client.request(&ctx, request()).await.unwrap();
        }
        script.sent.lock().unwrap().clear();
        Self { script, hedge, client, ctx }
    }

    fn then(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.script.steps.lock().unwrap().extend(steps);
        self
    }

    /// Makes a call; returns its outcome, its duration and the number of requests.
    async fn call(&self) -> (Result<Response, Error>, Duration, usize) {
        let (began, before) = (Instant::now(), self.sent());
        let outcome = self.client.request(&self.ctx, request()).await;
        (outcome, began.elapsed(), self.sent() - before)
    }

    fn sent(&self) -> usize {
        self.script.sent.lock().unwrap().len()
    }

    fn dropped(&self) -> u64 {
        self.script.dropped.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_sent_again_and_the_first_reply_wins() {
    let warm = Warm::new(Hedge::new()).await;
    let (outcome, took, sent) = warm.then([Step::Hang]).call().await;
    assert!(outcome.is_ok());
    // 99 % of the calls took 10 ms, in buckets of an eighth; then 10 ms for the second.
    assert!(took >= ms(20) && took <= ms(24), "{took:?}");
    assert_eq!((sent, warm.dropped()), (2, 1), "the loser is dropped");
    assert_eq!(warm.hedge.stats(), HedgeStats { sent: 1, won: 1, refused: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_first_reply_that_comes_after_all_wins_too() {
    let warm = Warm::new(Hedge::new()).await;
    let (outcome, took, sent) = warm.then([Step::Answer(15), Step::Hang]).call().await;
    assert!(outcome.is_ok());
    assert_eq!((took, sent, warm.dropped()), (ms(15), 2, 1));
    assert_eq!(warm.hedge.stats(), HedgeStats { sent: 1, won: 0, refused: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_call_of_usual_duration_is_sent_once() {
    let warm = Warm::new(Hedge::new()).await;
    let (outcome, _, sent) = warm.call().await;
    assert!(outcome.is_ok() && sent == 1);
    // Finagle: "Original request completes unsuccessfully before timer fires".
    let (outcome, took, sent) =
        warm.then([Step::Fail(1, unavailable(Delivery::Unknown))]).call().await;
    assert!(outcome.is_err());
    assert_eq!((took, sent), (ms(1), 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hedged_without_data_or_without_idempotency() {
    let script = Arc::new(Script::default());
    let client = Stack::new(Arc::clone(&script)).with(Hedge::new());
    let ctx = Context::background().with_timeout(ms(100));
    script.steps.lock().unwrap().push_back(Step::Hang);
    client.request(&ctx, request()).await.unwrap_err();
    assert_eq!(script.sent.lock().unwrap().len(), 1, "there is no data");

    let warm = Warm::new(Hedge::new()).await;
    warm.then([Step::Hang]);
    let plain = request().with_idempotency(Idempotency::Unspecified);
    let ctx = Context::background().with_timeout(ms(100));
    let error = warm.client.request(&ctx, plain).await.unwrap_err();
    assert_eq!((error.code(), warm.sent()), (Code::DeadlineExceeded, 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_may_be_retried_does_not_win() {
    // Finagle: "Backup request completes unsuccessfully first".
    let warm = Warm::new(Hedge::new()).await;
    let lost = unavailable(Delivery::Unknown);
    let (outcome, took, _) =
        warm.then([Step::Answer(50), Step::Fail(1, lost.clone())]).call().await;
    assert!(outcome.is_ok());
    assert_eq!(took, ms(50));
    let (outcome, took, _) = warm.then([Step::Fail(15, lost), Step::Answer(30)]).call().await;
    assert!(outcome.is_ok());
    assert!(took > ms(30) && took < ms(50), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_final_ends_the_call() {
    // gRPC: `hedging_everythingDrained_oneHedgeReceivesNonFatal_oneHedgeReceivesFatalStatus`.
    let warm = Warm::new(Hedge::new()).await;
    let fatal = Error::new(Code::NotFound, "no such order");
    let (outcome, _, sent) = warm.then([Step::Hang, Step::Fail(1, fatal)]).call().await;
    assert_eq!(outcome.unwrap_err().code(), Code::NotFound);
    assert_eq!((sent, warm.dropped()), (2, 1));
    // gRPC: `hedging_pushback_negative`.
    let never = unavailable(Delivery::Rejected).with_retry(rr_spi::RetryHint::Never);
    let (outcome, _, _) = warm.then([Step::Hang, Step::Fail(1, never)]).call().await;
    let error = outcome.unwrap_err();
    assert_eq!(error.retry(), rr_spi::RetryHint::Never);
    assert_eq!(error.delivery(), Delivery::Unknown, "the first request may have run");
    let deliveries: Vec<_> = error.attempts().iter().map(|attempt| attempt.delivery).collect();
    assert_eq!(deliveries, [Delivery::Unknown, Delivery::Rejected], "in the order of sending");
}

#[tokio::test(start_paused = true)]
async fn if_both_fail_the_error_has_the_worst_delivery_and_both_attempts() {
    let warm = Warm::new(Hedge::new()).await;
    let (maybe, not) = (unavailable(Delivery::Unknown), unavailable(Delivery::NotSent));
    for (steps, deliveries) in [
        (
            [Step::Fail(20, maybe.clone()), Step::Fail(30, not.clone())],
            [Delivery::Unknown, Delivery::NotSent],
        ),
        (
            [Step::Fail(40, not.clone()), Step::Fail(1, maybe.clone())],
            [Delivery::NotSent, Delivery::Unknown],
        ),
    ] {
        let error = warm.then(steps).call().await.0.unwrap_err();
        assert_eq!((error.delivery(), error.attempts().len()), (Delivery::Unknown, 2));
        let attempts: Vec<_> = error.attempts().iter().map(|attempt| attempt.delivery).collect();
        assert_eq!(attempts, deliveries, "in the order of sending");
    }
}

#[tokio::test(start_paused = true)]
async fn hedged_calls_do_not_change_the_delay() {
    let warm = Warm::new(Hedge::new()).await;
    let target = "orders.find".try_into().unwrap();
    let before = warm.hedge.delay(&target).unwrap();
    for _ in 0..5 {
        let (outcome, _, sent) = warm.then([Step::Answer(500)]).call().await;
        assert!(outcome.is_ok() && sent == 2);
    }
    assert_eq!(warm.hedge.delay(&target), Some(before));
    // Not 1 % of the calls but most are slow now: the delay follows, or every call would be hedged.
    for _ in 0..800 {
        warm.then([Step::Answer(50)]).call().await.0.unwrap();
    }
    assert!(warm.hedge.delay(&target) >= Some(ms(50)));
}

#[tokio::test(start_paused = true)]
async fn second_requests_are_one_in_a_hundred_at_most() {
    let warm = Warm::new(Hedge::new()).await;
    let mut second = 0;
    for _ in 0..500 {
        let (outcome, _, sent) = warm.then([Step::Answer(50)]).call().await;
        outcome.unwrap();
        second += sent - 1;
    }
    // The calls of the last 10 s pay for them: 1000 of the warm-up, and these.
    assert!((5..=15).contains(&second), "{second}");
    assert_eq!(warm.hedge.stats().sent, second as u64);
    assert!(warm.hedge.stats().refused > 0);
}

#[tokio::test(start_paused = true)]
async fn a_shared_budget_that_is_spent_refuses_second_requests() {
    let spent = RetryBudgetConfig::default().with_percent(0).with_floor_per_second(0);
    let hedge = Hedge::new().with_budget(RetryBudget::with_config(&spent));
    let warm = Warm::new(hedge).await;
    let (_, took, sent) = warm.then([Step::Answer(40)]).call().await;
    assert_eq!((took, sent, warm.hedge.stats().refused), (ms(40), 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_request_that_one_budget_refuses_costs_the_other_nothing() {
    let shared = RetryBudgetConfig::default().with_percent(100).with_floor_per_second(0);
    let shared = RetryBudget::with_config(&shared);
    // So that a few slow calls do not change the delay.
    let config = HedgeConfig::default().with_quantile_per_mille(900);
    let warm = Warm::new(Hedge::with_config(config).with_budget(shared.clone())).await;
    // The separate budget has second requests for 10 of 1000 calls.
    for _ in 0..20 {
        warm.then([Step::Answer(50)]).call().await.0.unwrap();
    }
    assert_eq!(warm.hedge.stats(), HedgeStats { sent: 0, won: 0, refused: 20 });
    for _ in 0..40 {
        shared.deposit();
    }
    for _ in 0..20 {
        warm.then([Step::Answer(50)]).call().await.0.unwrap();
    }
    let sent = warm.hedge.stats().sent;
    assert!((5..20).contains(&sent), "{sent}");
    assert_eq!(shared.balance(), 40 - sent, "refusals of the separate budget cost nothing");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_drops_both_requests() {
    let warm = Warm::new(Hedge::new()).await;
    warm.then([Step::Hang, Step::Hang]);
    let call = warm.client.request(&warm.ctx, request());
    assert!(tokio::time::timeout(ms(100), call).await.is_err());
    assert_eq!((warm.sent(), warm.dropped()), (2, 2));
}
