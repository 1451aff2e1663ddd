//! The layer among others: deadlines, nested calls, keyed requests, what an error tells.

use rr_core::retry::{RetryBudget, RetryConfig, RetryDecision};
use rr_core::transport::Dedup;
use rr_core::{
    Code, Context, Delivery, Error, Forward, Idempotency, IdempotencyKey, Local, Middleware, Next,
    Reason, Request, Requester, Response, Router, Stack, async_trait, recommended,
};
use rr_testkit::loopback;
use tokio::time::{Instant, sleep};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn all_attempts_share_the_deadline_of_the_call() {
    let script = Script::new([Step::Fail(ms(10), lost())]);
    let ctx = within(9000);
    let config = RetryConfig::default().with_attempt_timeout(ms(300));
    let _ = client_with(&script, config).request(&ctx, idempotent()).await;
    let deadlines: Vec<_> = script.seen().iter().filter_map(|seen| seen.deadline).collect();
    assert_eq!(deadlines.len(), 3);
    assert!(deadlines.iter().all(|deadline| Some(*deadline) < ctx.deadline()));
    let late = Script::new([Step::Answer(ms(0))]);
    let config = RetryConfig::default().with_attempt_timeout(ms(300));
    client_with(&late, config).request(&within(200), idempotent()).await.unwrap();
    assert_eq!(late.seen()[0].deadline, within(200).deadline());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_the_second_attempt_what_the_first_did_not_use() {
    // 100 ms for an attempt, 150 ms for the call, a refusal after 10 ms.
    let script = Script::new([Step::Fail(ms(110), refused()), Step::Hang]);
    let config = RetryConfig::default().with_attempt_timeout(ms(120));
    let ctx = within(150);
    let error = client_with(&script, config).request(&ctx, idempotent()).await.unwrap_err();
    assert_eq!(script.seen()[1].deadline, ctx.deadline(), "40 ms are left of 120");
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    assert_eq!(decisions(&error), [RetryDecision::Resend, RetryDecision::CallEnded]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_call_is_told_apart_from_that_of_an_attempt() {
    let script = Script::new([Step::Hang]);
    let error = client(&script).request(&within(500), idempotent()).await.unwrap_err();
    assert_eq!((error.code(), script.seen().len()), (Code::DeadlineExceeded, 1));
    assert_eq!(decisions(&error), [RetryDecision::CallEnded]);
    // What a peer calls a deadline is one of its own, and nothing is known of what it ran.
    let theirs = Error::failure(Code::DeadlineExceeded, Delivery::Processed, None, "slow");
    let script = Script::broken(theirs);
    let error = client(&script).request(&within(500), idempotent()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::Final]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_run_twice_has_all_the_time_for_its_attempt() {
    let script = Script::new([Step::Answer(ms(400))]);
    let config = RetryConfig::default().with_attempt_timeout(ms(100));
    client_with(&script, config).request(&within(500), plain()).await.unwrap();
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_made_when_less_is_left_than_calls_take() {
    let steps = (0..20).map(|_| Step::Answer(ms(200)));
    let script = Script::new(steps.chain([Step::Fail(ms(0), lost())]));
    let client = client(&script);
    for _ in 0..20 {
        client.request(&within(5000), idempotent()).await.unwrap();
    }
    let start = Instant::now();
    let error = client.request(&within(150), idempotent()).await.unwrap_err();
    assert_eq!((error.reason(), error.attempts().len()), (Some(&Reason::CONNECTION_LOST), 1));
    assert_eq!(decisions(&error), [RetryDecision::NoTimeLeft]);
    assert_eq!(start.elapsed(), ms(0), "there is nothing to wait for");
    let error = client.request(&within(1000), idempotent()).await.unwrap_err();
    assert_eq!(error.attempts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn how_long_another_method_takes_keeps_no_call_from_being_tried_again() {
    let steps = (0..20).map(|_| Step::Answer(ms(2000)));
    let script = Script::new(steps.chain([Step::Fail(ms(0), lost()), Step::Answer(ms(5))]));
    let client = client(&script);
    for _ in 0..20 {
        let mut report = idempotent();
        report.target = "reports.make".try_into().unwrap();
        client.request(&within(5000), report).await.unwrap();
    }
    client.request(&within(500), idempotent()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_error_is_the_last_one_and_says_the_worst_of_all_attempts() {
    let steps = [lost(), unavailable(Delivery::NotSent), refused()].map(|e| Step::Fail(ms(3), e));
    let script = Script::new(steps);
    let error = client(&script).request(&within(5000), idempotent()).await.unwrap_err();
    assert_eq!((error.reason(), error.message()), (Some(&Reason::DRAINING), "going"));
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_eq!(
        error.report().to_string(),
        "unavailable/draining (unknown): going
  attempt 1: unavailable/connection-lost (unknown) in 3.0ms; tried again after 25.0ms
  attempt 2: unavailable (not_sent) in 3.0ms; tried again after 50.0ms
  attempt 3: unavailable/draining (rejected) in 3.0ms; given up: that was the last attempt allowed"
    );
}

fn keyed() -> Request {
    let key = IdempotencyKey::new("order-17").unwrap();
    plain().with_idempotency(Idempotency::Keyed(key))
}

#[tokio::test(start_paused = true)]
async fn a_keyed_call_is_idempotent_only_where_duplicates_are_known_to_be_suppressed() {
    let script = Script::broken(lost());
    let error = client(&script).request(&within(5000), keyed()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::NotIdempotent]);
    let script = Script::broken(lost());
    let config = RetryConfig::default().with_deduplicates(true);
    let error = client_with(&script, config).request(&within(5000), keyed()).await.unwrap_err();
    assert_eq!((error.attempts().len(), script.retries()), (3, vec![0, 1, 2]));
    let idempotency = &script.seen()[2].request.idempotency;
    assert_eq!(*idempotency, keyed().idempotency, "the same key on every attempt");
}

#[tokio::test(start_paused = true)]
async fn that_duplicates_are_suppressed_is_learned_from_an_answer_of_the_same_target() {
    let script = Script::new([Step::Announce, Step::Fail(ms(0), lost())]);
    let client = client(&script);
    client.request(&within(5000), keyed()).await.unwrap();
    let error = client.request(&within(5000), keyed()).await.unwrap_err();
    assert_eq!(error.attempts().len(), 3);
    let mut other = keyed();
    other.target = "orders.refund".try_into().unwrap();
    let error = client.request(&within(5000), other).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::NotIdempotent]);
}

#[tokio::test(start_paused = true)]
async fn an_error_may_announce_it_for_its_own_call() {
    let ran = Error::new(Code::Unavailable, "warming up").into_failure();
    let script = Script::failing([ran.clone().with_dedup(Dedup::On)]);
    client(&script).request(&within(5000), keyed()).await.unwrap();
    assert_eq!(script.retries(), [0, 1]);
    let script = Script::broken(ran.with_dedup(Dedup::Replayed));
    let error = client(&script).request(&within(5000), keyed()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::Final], "a stored answer does not change");
}

#[tokio::test(start_paused = true)]
async fn only_one_of_two_retry_layers_multiplies() {
    let script = Script::broken(lost());
    let inner = client(&script);
    let outer = Stack::new(inner).with(retry(RetryConfig::default()));
    let error = outer.request(&within(9000), idempotent()).await.unwrap_err();
    // The inner one retries until the outer one does.
    assert_eq!(script.retries(), [0, 1, 2, 1, 2]);
    assert_eq!(error.attempts().len(), 5, "each is told once");
}

#[tokio::test(start_paused = true)]
async fn what_one_of_two_retry_layers_has_sent_again_at_once_the_other_does_not() {
    let script = Script::broken(refused());
    let inner = client(&script);
    let outer = Stack::new(inner).with(retry(RetryConfig::default()));
    let error = outer.request(&within(9000), plain()).await.unwrap_err();
    assert_eq!(script.retries(), [0, 0, 1, 2, 1, 2]);
    assert_eq!(error.attempts().len(), 6, "each is told once");
}

#[tokio::test(start_paused = true)]
async fn the_retries_of_a_layer_further_out_pay_for_none_further_in() {
    let budget = RetryBudget::with_config(&no_budget().with_percent(100));
    let inner = retry(RetryConfig::default()).with_budget(budget.clone());
    let script = Script::broken(lost());
    let client = Stack::new(Stack::new(script.clone()).with(inner)).with(retry(Default::default()));
    let _ = client.request(&within(9000), idempotent()).await;
    assert_eq!((script.retries(), budget.balance()), (vec![0, 1, 1, 2], 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_below_a_retried_one_is_tried_once() {
    for (inbound, sent) in [(0, 3), (1, 1)] {
        let script = Script::broken(lost());
        let below = std::sync::Arc::new(client(&script));
        let front = Local::new(Router::new().route("front", move |ctx: Context, _: Request| {
            let below = below.clone();
            async move { below.request(&ctx, idempotent()).await }
        }));
        let request = Request::new("front".try_into().unwrap(), "");
        let _ = front.request(&within(9000).with_retries(inbound), request).await.unwrap_err();
        assert_eq!(script.seen().len(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bridge_passes_the_count_on_and_adds_to_it_nothing() {
    let script = Script::broken(lost());
    let bridge = Local::new(Router::new().fallback(Forward(client(&script))));
    let _ = bridge.request(&within(9000).with_retries(2), idempotent()).await;
    assert_eq!(script.retries(), [2]);
}

#[tokio::test(start_paused = true)]
async fn the_recommended_stack_gives_every_attempt_one_deadline() {
    let script = Script::new([Step::Fail(ms(100), lost())]);
    let client = recommended(script.clone());
    let start = Instant::now();
    let _ = client.request(&Context::background(), idempotent()).await;
    let deadlines: Vec<_> = script.seen().iter().filter_map(|seen| seen.deadline).collect();
    assert_eq!(deadlines.len(), 3);
    assert!(deadlines.iter().all(|deadline| deadline.instant() == start + ms(10_000)));
}

/// Counts what passes it.
struct Counted(std::sync::Arc<std::sync::atomic::AtomicU32>);

#[async_trait]
impl Middleware for Counted {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        next.run(ctx, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn layers_added_to_the_recommended_stack_see_each_attempt() {
    let counter = std::sync::Arc::default();
    let script = Script::broken(lost());
    let client = recommended(script).with(Counted(std::sync::Arc::clone(&counter)));
    let _ = client.request(&within(9000), idempotent()).await;
    assert_eq!(counter.load(std::sync::atomic::Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unbounded_call_waits_as_long_as_it_is_asked_to() {
    let script = Script::failing([after(refused(), 250_000)]);
    let start = Instant::now();
    client(&script).request(&Context::background().unbounded(), plain()).await.unwrap();
    assert_eq!(start.elapsed(), ms(275_000));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ran_is_tried_again_only_where_the_table_says_so() {
    let ran = |code| Error::new(code, "the handler's own").into_failure();
    let count = async |error: Error, request: Request| {
        let script = Script::broken(error);
        let _ = client(&script).request(&within(9000), request).await;
        sleep(ms(1)).await;
        script.seen().len()
    };
    assert_eq!(count(ran(Code::Unavailable), idempotent()).await, 3);
    assert_eq!(count(ran(Code::Unavailable), plain()).await, 1);
    assert_eq!(count(ran(Code::ResourceExhausted), idempotent()).await, 1);
    assert_eq!(count(after(ran(Code::ResourceExhausted), 5), plain()).await, 3);
    assert_eq!(count(ran(Code::Internal), idempotent()).await, 1);
}

/// Says that duplicates are suppressed, without doing so.
struct Announce;

#[async_trait]
impl Middleware for Announce {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        match next.run(ctx, request).await {
            Ok(response) => Ok(response.with_dedup(Dedup::On)),
            Err(error) => Err(error.with_dedup(Dedup::On)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn over_a_transport_a_handler_sees_the_count_and_a_keyed_call_learns() {
    let (seen, mut counts) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |ctx: Context, _: Request| {
        let retries = ctx.inbound_retries();
        seen.send(retries).unwrap();
        async move {
            if retries < 2 {
                return Err(Error::new(Code::Unavailable, "warming up"));
            }
            Ok(Response::new(retries.to_string()))
        }
    };
    let routes = Router::new().route("orders.place", handler.clone());
    let silent = Stack::new(loopback(routes)).with(retry(RetryConfig::default()));
    let error = silent.request(&within(5000), keyed()).await.unwrap_err();
    assert_eq!((error.delivery(), error.attempts().len()), (Delivery::Processed, 1));
    let announced = loopback(Router::new().route("orders.place", handler).with(Announce));
    let telling = Stack::new(announced).with(retry(RetryConfig::default()));
    let response = telling.request(&within(5000), keyed()).await.unwrap();
    assert_eq!(response.body, "2");
    let counts: Vec<_> = std::iter::from_fn(|| counts.try_recv().ok()).collect();
    assert_eq!(counts, [0, 0, 1, 2]);
}
