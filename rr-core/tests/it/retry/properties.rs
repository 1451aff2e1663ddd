//! What holds for any call over any schedule of failures. A failure prints all that repeats it,
//! the seed of chance included.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rr_core::retry::{Retry, RetryConfig, RetryDecision};
use rr_core::transport::SeededEntropy;
use rr_core::{
    Code, Delivery, Error, Idempotency, IdempotencyKey, Reason, Request, Requester, Response,
    Stack, retry::RetryHint,
};
use tokio::time::Instant;

use super::support::*;

/// A call, and what becomes of its attempts.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    attempts_max: u32,
    attempt_timeout: u64,
    timeout: u64,
    retries_internal: bool,
    deduplicates: bool,
    idempotency: Idempotency,
    steps: Vec<Step>,
}

fn error() -> impl Strategy<Value = Error> {
    let codes = [
        Code::Unavailable,
        Code::Unavailable,
        Code::ResourceExhausted,
        Code::DeadlineExceeded,
        Code::Internal,
        Code::Unknown,
        Code::Aborted,
        Code::NotFound,
        Code::Canceled,
    ];
    let deliveries =
        [Delivery::NotSent, Delivery::Rejected, Delivery::Unknown, Delivery::Processed];
    let hint = prop_oneof![
        6 => Just(RetryHint::Unset),
        1 => Just(RetryHint::Never),
        2 => (0_u64..4000).prop_map(|millis| RetryHint::After(ms(millis))),
        1 => Just(RetryHint::After(Duration::MAX)),
    ];
    let reasons = [None, None, None, Some(Reason::OVERLOADED), Some(Reason::APP)];
    let all = (
        prop::sample::select(codes.to_vec()),
        prop::sample::select(deliveries.to_vec()),
        prop::sample::select(reasons.to_vec()),
        hint,
    );
    all.prop_map(|(code, delivery, reason, hint)| {
        let error = Error::failure(code, delivery, reason, "scripted");
        if error.retry() == RetryHint::Never { error } else { error.with_retry(hint) }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let took = prop_oneof![Just(0_u64), 0_u64..40, 0_u64..1500].prop_map(ms);
    prop_oneof![
        8 => (took.clone(), error()).prop_map(|(took, error)| Step::Fail(took, error)),
        1 => took.prop_map(Step::Answer),
        1 => Just(Step::Hang),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let key = Idempotency::Keyed(IdempotencyKey::new("key").unwrap());
    let idempotencies =
        vec![Idempotency::Unspecified, Idempotency::Safe, Idempotency::Idempotent, key];
    (
        any::<u64>(),
        0_u32..8,
        prop_oneof![Just(0_u64), 1_u64..600],
        1_u64..4000,
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(idempotencies),
        prop::collection::vec(step(), 1..8),
    )
        .prop_map(
            |(
                seed,
                attempts_max,
                attempt_timeout,
                timeout,
                retries_internal,
                deduplicates,
                idempotency,
                steps,
            )| Case {
                seed,
                attempts_max,
                attempt_timeout,
                timeout,
                retries_internal,
                deduplicates,
                idempotency,
                steps,
            },
        )
}

/// What came of a case.
struct Run {
    outcome: Result<Response, Error>,
    seen: Vec<Seen>,
    elapsed: Duration,
    deadline: Instant,
}

fn run(case: &Case) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let script = Script::new(case.steps.clone());
        let config = RetryConfig::default()
            .with_attempts_max(case.attempts_max)
            .with_attempt_timeout(ms(case.attempt_timeout))
            .with_retries_internal(case.retries_internal)
            .with_deduplicates(case.deduplicates);
        let layer = Retry::with_config(config).with_entropy(SeededEntropy::new(case.seed));
        let client = Stack::new(Arc::clone(&script)).with(layer);
        let (ctx, start) = (within(case.timeout), Instant::now());
        let request: Request = plain().with_idempotency(case.idempotency.clone());
        let outcome = client.request(&ctx, request).await;
        let deadline = ctx.deadline().unwrap().instant();
        Run { outcome, seen: script.seen(), elapsed: start.elapsed(), deadline }
    })
}

/// Tells whether a failed attempt may be followed by another, straight from the words of
/// docs/src/retry-table.md.
fn may_follow(case: &Case, failed: &Step, attempt_expired: bool) -> bool {
    let is_idempotent = match case.idempotency {
        Idempotency::Safe | Idempotency::Idempotent => true,
        Idempotency::Keyed(_) => case.deduplicates,
        _ => false,
    };
    if attempt_expired {
        // The timer of the attempt ended it, and what was to come did not.
        return is_idempotent;
    }
    let Step::Fail(_, error) = failed else { return false };
    let asked = match error.retry() {
        RetryHint::Never => return false,
        RetryHint::After(asked) if asked > Duration::from_secs(300) => return false,
        RetryHint::After(_) => true,
        _ => false,
    };
    match (error.code(), error.delivery()) {
        (Code::Unavailable | Code::ResourceExhausted, delivery) if delivery.is_unexecuted() => true,
        (Code::ResourceExhausted, Delivery::Processed) => asked,
        (Code::Unavailable | Code::ResourceExhausted, _) => is_idempotent,
        (Code::Internal | Code::Unknown | Code::DataLoss, Delivery::Unknown) => {
            case.retries_internal && is_idempotent
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        // What failed is printed, and becomes a test of its own.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_rules_hold(case in case()) {
        let Run { outcome, seen, elapsed, deadline } = run(&case);
        let ceiling = case.attempts_max.clamp(1, 5) as usize;
        prop_assert!(seen.len() <= ceiling + 1, "one more is sent again immediately");
        prop_assert!(elapsed <= ms(case.timeout), "the call ends by its deadline");

        for (at, attempt) in seen.iter().enumerate() {
            prop_assert!(attempt.at < ms(case.timeout), "nothing is sent at the deadline");
            let own = attempt.deadline.unwrap().instant();
            prop_assert!(own <= deadline, "an attempt ends no later than its call");
            prop_assert!((attempt.retries as usize) < ceiling);
            let step = &case.steps[at.min(case.steps.len() - 1)];
            if let Some(next) = seen.get(at + 1) {
                // The attempt's timer wins a tie, and its deadline was then before the call's.
                let took = match step {
                    Step::Answer(took) | Step::Fail(took, _) => *took,
                    Step::Announce => Duration::ZERO,
                    Step::Hang => Duration::MAX,
                };
                let granted = ms(case.attempt_timeout);
                let expired = !granted.is_zero() && own < deadline && took >= granted;
                prop_assert!(may_follow(&case, step, expired), "{step:?} was followed by another");
                let again_at_once = next.retries == attempt.retries;
                prop_assert!(!again_at_once || at == 0, "only the first is sent again immediately");
                prop_assert!(next.retries <= attempt.retries + 1);
            }
        }
        if let Err(error) = outcome {
            let attempts = error.attempts();
            prop_assert_eq!(attempts.len(), seen.len(), "every attempt is told");
            let (last, before) = attempts.split_last().unwrap();
            prop_assert_eq!((last.code, &last.reason.as_ref()), (error.code(), &error.reason()));
            let worst = attempts.iter().map(|attempt| attempt.delivery).max();
            prop_assert_eq!(Some(error.delivery()), worst);
            prop_assert!(before.iter().all(|attempt| attempt.decision.unwrap().is_retry()));
            prop_assert!(!last.decision.unwrap().is_retry());
            if last.decision == Some(RetryDecision::CallEnded) {
                // It ended within an attempt: no pause was begun that the deadline cut short.
                let ended = seen.last().unwrap().at + last.elapsed;
                prop_assert!(ended >= ms(case.timeout), "{ended:?}");
            }
            let waited: Duration = before.iter().filter_map(|attempt| match attempt.decision {
                Some(RetryDecision::Again(pause)) => Some(pause),
                _ => None,
            }).sum();
            let tried: Duration = attempts.iter().map(|attempt| attempt.elapsed).sum();
            // Timers fire at whole milliseconds, so each pause takes a little more.
            let rounded = waited + ms(2 * before.len() as u64);
            prop_assert!(elapsed >= tried, "{elapsed:?} {tried:?}");
            prop_assert!(elapsed <= tried + rounded, "{elapsed:?} {tried:?} {waited:?}");
        }
    }
}
