//! The cases `retry_*` of gRPC core's end-to-end tests, by their names there.

use rr_core::retry::{Retry, RetryConfig, RetryDecision};
use rr_core::{Code, Context, Delivery, Error, Reason, Requester, Stack, retry::RetryHint};
use tokio::time::{Instant, sleep};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn retry() {
    let script = Script::failing([lost()]);
    let response = client(&script).request(&within(5000), idempotent()).await.unwrap();
    assert_eq!(response.body, "done");
    assert_eq!(script.retries(), [0, 1]);
    assert_eq!(script.gaps(), [ms(25)]);
}

#[tokio::test(start_paused = true)]
async fn retry_disabled() {
    let script = Script::failing([lost()]);
    let client = client_with(&script, RetryConfig::default().with_attempts_max(1));
    let error = client.request(&within(5000), idempotent()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::AttemptsSpent]);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_too_many_attempts() {
    let script = Script::broken(lost());
    let error = client(&script).request(&within(5000), idempotent()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, Some(&Reason::CONNECTION_LOST)));
    assert_eq!(script.retries(), [0, 1, 2]);
    assert_eq!(decisions(&error).last(), Some(&RetryDecision::AttemptsSpent));
}

#[tokio::test(start_paused = true)]
async fn retry_throttled() {
    let script = Script::broken(lost());
    let layer = Retry::new().with_budget(empty_budget());
    let client = Stack::new(script.clone()).with(layer);
    let start = Instant::now();
    let error = client.request(&within(5000), idempotent()).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::CONNECTION_LOST), "the last real error");
    assert_eq!(decisions(&error), [RetryDecision::BudgetSpent]);
    assert_eq!(start.elapsed(), ms(0), "it never waits for the budget");
}

#[tokio::test(start_paused = true)]
async fn retry_non_retriable_status() {
    for code in [Code::InvalidArgument, Code::PermissionDenied, Code::Aborted, Code::Internal] {
        let script =
            Script::broken(Error::failure(code, Delivery::Rejected, None, "not to be tried again"));
        let error = client(&script).request(&within(5000), idempotent()).await.unwrap_err();
        assert_eq!((error.code(), script.seen().len()), (code, 1));
        assert_eq!(decisions(&error), [RetryDecision::Final]);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_server_pushback_delay() {
    let script = Script::failing([after(refused(), 2000)]);
    client(&script).request(&within(5000), plain()).await.unwrap();
    assert_eq!(script.gaps(), [ms(2200)], "as long as asked, and a part of a fifth more");
}

#[tokio::test(start_paused = true)]
async fn retry_server_pushback_disabled() {
    let script = Script::broken(refused().with_retry(RetryHint::Never));
    let error = client(&script).request(&within(5000), idempotent()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::Never]));
}

#[tokio::test(start_paused = true)]
async fn retry_per_attempt_recv_timeout() {
    let script = Script::new([Step::Hang, Step::Hang, Step::Answer(ms(10))]);
    let client = client_with(&script, RetryConfig::default().with_attempt_timeout(ms(300)));
    client.request(&within(5000), idempotent()).await.unwrap();
    assert_eq!(script.gaps(), [ms(325), ms(350)]);
    assert_eq!(script.retries(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn retry_per_attempt_recv_timeout_on_last_attempt() {
    let script = Script::new([Step::Hang]);
    let client = client_with(&script, RetryConfig::default().with_attempt_timeout(ms(300)));
    let start = Instant::now();
    let error = client.request(&within(5000), idempotent()).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    assert_eq!(decisions(&error).last(), Some(&RetryDecision::AttemptsSpent));
    assert_eq!(start.elapsed(), ms(3 * 300 + 25 + 50));
}

#[tokio::test(start_paused = true)]
async fn retry_cancellation() {
    let script = Script::new([Step::Hang]);
    let (ctx, handle) = within(5000).child();
    let client = client(&script);
    let call = tokio::spawn(async move { client.request(&ctx, idempotent()).await });
    sleep(ms(10)).await;
    handle.cancel();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.code(), script.seen().len()), (Code::Canceled, 1));
    assert_eq!(decisions(&error), [RetryDecision::CallEnded]);
}

#[tokio::test(start_paused = true)]
async fn retry_cancel_during_delay() {
    let script = Script::broken(after(lost(), 1000));
    let (ctx, handle) = within(5000).child();
    let client = client(&script);
    let call = tokio::spawn(async move { client.request(&ctx, idempotent()).await });
    sleep(ms(10)).await;
    handle.cancel();
    let start = Instant::now();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(start.elapsed(), ms(0));
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::Unknown));
    assert_eq!(decisions(&error), [RetryDecision::CallEnded]);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_cancel_after_first_attempt_starts() {
    let script = Script::new([Step::Fail(ms(100), lost())]);
    let client = client(&script);
    let ctx = Context::background();
    assert!(tokio::time::timeout(ms(50), client.request(&ctx, plain())).await.is_err());
    sleep(ms(60_000)).await;
    assert_eq!(script.seen().len(), 1, "nothing goes on once the call is dropped");
}

/// There is no buffer to exceed: a body is shared by all attempts, however large it is.
#[tokio::test(start_paused = true)]
async fn retry_exceeds_buffer_size_in_delay() {
    let script = Script::failing([lost(), lost()]);
    let mut request = idempotent();
    request.body = vec![7; 900 * 1024].into();
    let first = request.body.as_ptr();
    client(&script).request(&within(5000), request).await.unwrap();
    let bodies: Vec<_> = script.seen().iter().map(|seen| seen.request.body.as_ptr()).collect();
    assert_eq!(bodies, [first; 3], "the same bytes, never copied");
}

#[tokio::test(start_paused = true)]
async fn retry_lb_drop() {
    let reason = Reason::THROTTLED;
    let dropped = Error::failure(Code::ResourceExhausted, Delivery::NotSent, reason, "held back");
    let script = Script::broken(dropped);
    let error = client(&script).request(&within(5000), idempotent()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::Never]));
}

#[tokio::test(start_paused = true)]
async fn retry_lb_fail() {
    let script = Script::broken(Error::failure(
        Code::Unavailable,
        Delivery::NotSent,
        Reason::NO_RESPONDER,
        "nobody is there",
    ));
    let error = client(&script).request(&within(5000), plain()).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.delivery()),
        (Some(&Reason::NO_RESPONDER), Delivery::NotSent)
    );
    assert_eq!(script.retries(), [0, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn retry_send_op_fails() {
    let script = Script::failing([lost()]);
    client(&script).request(&within(5000), idempotent()).await.unwrap();
    assert_eq!(script.seen().len(), 2);
    let script = Script::broken(lost());
    let error = client(&script).request(&within(5000), plain()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::NotIdempotent]));
}

/// What the peer has answered is final, also where it cannot be read.
#[tokio::test(start_paused = true)]
async fn retry_recv_initial_metadata() {
    let script = Script::broken(Error::failure(
        Code::Internal,
        Delivery::Processed,
        Reason::BAD_RESPONSE,
        "half a reply",
    ));
    let config = RetryConfig::default().with_retries_internal(true);
    let error = client_with(&script, config).request(&within(5000), idempotent()).await;
    assert_eq!(decisions(&error.unwrap_err()), [RetryDecision::Final]);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_transparent_goaway() {
    let script = Script::failing([refused()]);
    client(&script).request(&within(5000), plain()).await.unwrap();
    assert_eq!((script.retries(), script.gaps()), (vec![0, 0], vec![ms(0)]));
}

#[tokio::test(start_paused = true)]
async fn retry_transparent_max_concurrent_streams() {
    let script = Script::failing([unavailable(Delivery::Rejected)]);
    let client = client_with(&script, RetryConfig::default().with_attempts_max(1));
    client.request(&within(5000), plain()).await.unwrap();
    assert_eq!(script.retries(), [0, 0], "also where no retry is allowed");
}

#[tokio::test(start_paused = true)]
async fn retry_transparent_not_sent_on_wire() {
    let script = Script::failing([unavailable(Delivery::NotSent)]);
    client(&script).request(&within(5000), plain()).await.unwrap();
    assert_eq!((script.retries(), script.gaps()), (vec![0, 0], vec![ms(0)]));
}

#[tokio::test(start_paused = true)]
async fn retry_unref_before_finish() {
    let script = Script::failing([lost(), lost()]);
    let client = std::sync::Arc::new(client(&script));
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.request(&within(5000), idempotent()).await }
    });
    drop(client);
    assert_eq!(call.await.unwrap().unwrap().body, "done");
}
