//! The cases on retry of grpc-go's tests, by their names there.
#![allow(non_snake_case, reason = "the names are those of the suite they come from")]

use rr_core::retry::{RetryConfig, RetryDecision};
use rr_core::{Code, Delivery, Error, Requester};

use super::support::*;

fn invalid() -> Error {
    Error::failure(Code::InvalidArgument, Delivery::Processed, None, "wrong")
}

#[tokio::test(start_paused = true)]
async fn TestRetryUnary() {
    let rows = [
        (vec![], 1, None),
        (vec![lost()], 2, None),
        (vec![lost(), lost()], 3, None),
        (vec![lost(), lost(), lost()], 3, Some(Code::Unavailable)),
        (vec![invalid()], 1, Some(Code::InvalidArgument)),
        (vec![lost(), invalid()], 2, Some(Code::InvalidArgument)),
        (vec![exhausted(), lost()], 3, None),
    ];
    for (errors, attempts, code) in rows {
        let script = Script::failing(errors.clone());
        let outcome = client(&script).request(&within(9000), idempotent()).await;
        assert_eq!(outcome.err().map(|error| error.code()), code, "{errors:?}");
        assert_eq!(script.seen().len(), attempts, "{errors:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn TestRetryThrottling() {
    // One retry for two calls.
    let config = RetryConfig::default().with_budget(no_budget().with_percent(50));
    let steps = [
        Step::Fail(ms(0), lost()),
        Step::Fail(ms(0), lost()),
        Step::Answer(ms(0)),
        Step::Fail(ms(0), lost()),
        Step::Answer(ms(0)),
        Step::Fail(ms(0), lost()),
        Step::Answer(ms(0)),
    ];
    let script = Script::new(steps);
    let client = client_with(&script, config);
    let mut answered = Vec::new();
    for _ in 0..5 {
        answered.push(client.request(&within(9000), idempotent()).await.is_ok());
    }
    // The second has the retry that the first one paid half of; the fourth needs none, and so the
    // fifth has it.
    assert_eq!((answered, script.seen().len()), (vec![false, true, false, true, true], 7));
}

#[tokio::test(start_paused = true)]
async fn TestMaxCallAttempts() {
    for (set, made) in [(0, 1), (2, 2), (5, 5), (6, 5), (u32::MAX, 5)] {
        let script = Script::broken(lost());
        let config = RetryConfig::default().with_attempts_max(set);
        let error = client_with(&script, config).request(&within(9000), idempotent()).await;
        assert_eq!(script.seen().len(), made);
        assert_eq!(decisions(&error.unwrap_err()).last(), Some(&RetryDecision::AttemptsSpent));
    }
}

/// There, a call is committed once its reply has begun; here, once it may have run.
#[tokio::test(start_paused = true)]
async fn TestRetryTransparentWhenCommitted() {
    let script = Script::failing([lost()]);
    let error = client(&script).request(&within(9000), plain()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::NotIdempotent]));
}

/// Without the layer nothing is tried again, not even what never left.
#[tokio::test(start_paused = true)]
async fn TestNoRetry() {
    let script = Script::failing([unavailable(Delivery::NotSent)]);
    let error = script.request(&within(9000), idempotent()).await.unwrap_err();
    assert_eq!((script.seen().len(), error.attempts().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn TestTransparentRetry() {
    // How often in a row a stream is refused, for calls that may be tried once.
    for (refusals, is_answered) in [(0, true), (1, true), (2, false)] {
        let script = Script::failing((0..refusals).map(|_| refused()));
        let config = RetryConfig::default().with_attempts_max(1);
        let outcome = client_with(&script, config).request(&within(9000), plain()).await;
        assert_eq!(outcome.is_ok(), is_answered, "{refusals}");
        assert!(script.retries().iter().all(|&retries| retries == 0));
    }
}
