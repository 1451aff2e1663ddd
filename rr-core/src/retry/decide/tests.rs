use rr_spi::SeededEntropy;

use super::*;

/// Cell of the decision table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    Retry,
    OnlyIdempotent,
    OnlyWithAfter,
    OptIn,
    No,
}

use Cell::{No, OnlyIdempotent, OnlyWithAfter, OptIn, Retry};

const DELIVERIES: [Delivery; 4] =
    [Delivery::NotSent, Delivery::Rejected, Delivery::Unknown, Delivery::Processed];

/// The decision table (docs/src/retry-table.md#decision-table): a row for each code and timer, a
/// cell for each delivery.
fn row(code: Code, timer: Timer) -> [Cell; 4] {
    match (code, timer) {
        (_, Timer::Call) => [No; 4],
        (Code::Unavailable, _) => [Retry, Retry, OnlyIdempotent, OnlyIdempotent],
        (Code::ResourceExhausted, _) => [Retry, Retry, OnlyIdempotent, OnlyWithAfter],
        (Code::DeadlineExceeded, Timer::Attempt) => [Retry, Retry, OnlyIdempotent, OnlyIdempotent],
        (Code::Internal | Code::Unknown | Code::DataLoss, _) => [No, No, OptIn, No],
        _ => [No; 4],
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn failure(error: &Error) -> Failure<'_> {
    Failure {
        error,
        now: Instant::now(),
        deadline: None,
        typical: Duration::ZERO,
        repeatable: Repeatable::No,
        timer: Timer::None,
    }
}

fn error(code: Code, delivery: Delivery, hint: RetryHint) -> Error {
    Error::failure(code, delivery, None, "").with_retry(hint)
}

fn decide(config: &RetryConfig, failure: &Failure<'_>) -> RetryDecision {
    Progress::new(config.attempts(), 0).decide(config, failure, &SeededEntropy::new(7))
}

fn unavailable(delivery: Delivery) -> Error {
    error(Code::Unavailable, delivery, RetryHint::Unset)
}

#[test]
fn every_cell_of_the_table_holds() {
    let hints = [RetryHint::Unset, RetryHint::After(ms(10)), RetryHint::Never];
    let mut cells = 0;
    for code in Code::ALL {
        for timer in [Timer::None, Timer::Attempt, Timer::Call] {
            for (delivery, cell) in DELIVERIES.into_iter().zip(row(code, timer)) {
                for (hint, repeatable, internal) in combinations(&hints) {
                    let error = error(code, delivery, hint);
                    let failure = Failure { timer, repeatable, ..failure(&error) };
                    let config = RetryConfig::default().with_retries_internal(internal);
                    let idempotent = repeatable == Repeatable::Yes;
                    let expected = hint != RetryHint::Never
                        && match cell {
                            Retry => true,
                            OnlyIdempotent => idempotent,
                            OnlyWithAfter => matches!(hint, RetryHint::After(_)),
                            OptIn => idempotent && internal,
                            No => false,
                        };
                    let decision = decide(&config, &failure);
                    assert_eq!(
                        decision.is_retry(),
                        expected,
                        "{code} {delivery:?} {timer:?} {hint:?} {repeatable:?} {internal}: {decision:?}"
                    );
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 16 * 3 * 4 * 3 * 2 * 2);
}

fn combinations(hints: &[RetryHint; 3]) -> Vec<(RetryHint, Repeatable, bool)> {
    let mut all = Vec::new();
    for &hint in hints {
        for repeatable in [Repeatable::Yes, Repeatable::No] {
            all.extend([true, false].map(|internal| (hint, repeatable, internal)));
        }
    }
    all
}

#[test]
fn reasons_that_make_another_attempt_useless_stop_it() {
    for reason in [
        Reason::REQUEST_TOO_LARGE,
        Reason::RESPONSE_TOO_LARGE,
        Reason::THROTTLED,
        Reason::CLOSED,
        Reason::APP,
        Reason::BREAKER_OPEN,
    ] {
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            for delivery in DELIVERIES {
                let error = Error::failure(code, delivery, reason.clone(), "");
                let failure = Failure { repeatable: Repeatable::Yes, ..failure(&error) };
                assert!(!decide(&RetryConfig::default(), &failure).is_retry(), "{error}");
            }
        }
    }
}

#[test]
fn only_a_first_failure_that_did_not_run_is_resent_immediately() {
    let config = RetryConfig::default();
    let entropy = SeededEntropy::new(7);
    for delivery in [Delivery::NotSent, Delivery::Rejected] {
        let error = unavailable(delivery);
        let mut progress = Progress::new(3, 0);
        let mut decide = || progress.decide(&config, &failure(&error), &entropy);
        assert_eq!(decide(), RetryDecision::Resend);
        assert!(matches!(decide(), RetryDecision::Again(_)));
        assert!(matches!(decide(), RetryDecision::Again(_)));
        assert_eq!(decide(), RetryDecision::AttemptsSpent);
    }
    // An attempt that may have run rules out an immediate resend after it.
    let (first, second) = (unavailable(Delivery::Unknown), unavailable(Delivery::NotSent));
    let mut progress = Progress::new(3, 0);
    let first = Failure { repeatable: Repeatable::Yes, ..failure(&first) };
    assert!(matches!(progress.decide(&config, &first, &entropy), RetryDecision::Again(_)));
    assert_eq!(progress.retries(), 1);
    let second = progress.decide(&config, &failure(&second), &entropy);
    assert!(matches!(second, RetryDecision::Again(_)));
}

#[test]
fn exhaustion_or_a_retry_hint_forbids_the_immediate_resend() {
    let config = RetryConfig::default();
    let exhausted = error(Code::ResourceExhausted, Delivery::Rejected, RetryHint::Unset);
    assert!(matches!(decide(&config, &failure(&exhausted)), RetryDecision::Again(_)));
    let asked = error(Code::Unavailable, Delivery::Rejected, RetryHint::After(ms(100)));
    let RetryDecision::Again(pause) = decide(&config, &failure(&asked)) else {
        panic!("it is tried again")
    };
    assert!(pause >= ms(100) && pause < ms(120), "{pause:?}");
}

#[test]
fn no_attempt_is_made_that_would_not_be_done_in_time() {
    let config = RetryConfig::default();
    let error = error(Code::Unavailable, Delivery::Rejected, RetryHint::After(ms(100)));
    let now = Instant::now();
    let until = |left: u64, typical: u64| {
        let deadline = Some(now + ms(left));
        decide(&config, &Failure { now, deadline, typical: ms(typical), ..failure(&error) })
    };
    assert!(until(500, 0).is_retry());
    assert_eq!(until(100, 0), RetryDecision::NoTimeLeft, "the hint reaches to the deadline");
    assert!(until(500, 370).is_retry());
    assert_eq!(until(500, 401), RetryDecision::NoTimeLeft);
    let first = unavailable(Delivery::NotSent);
    let deadline = Some(now + ms(50));
    let at_once = |typical: u64| {
        decide(&config, &Failure { now, deadline, typical: ms(typical), ..failure(&first) })
    };
    assert_eq!(at_once(50), RetryDecision::Resend);
    assert_eq!(at_once(51), RetryDecision::NoTimeLeft);
}

#[test]
fn a_pause_of_more_than_five_minutes_is_never() {
    let config = RetryConfig::default();
    let error =
        error(Code::Unavailable, Delivery::Rejected, RetryHint::After(Duration::from_secs(301)));
    assert_eq!(decide(&config, &failure(&error)), RetryDecision::Never);
}

#[test]
fn an_asked_pause_lets_the_backoff_start_anew() {
    let config = RetryConfig::default();
    let entropy = SeededEntropy::new(7);
    let (plain, asked) = (
        unavailable(Delivery::Unknown),
        error(Code::Unavailable, Delivery::Unknown, RetryHint::After(ms(10))),
    );
    let mut progress = Progress::new(100, 0);
    let mut decide = |error| {
        let failure = Failure { repeatable: Repeatable::Yes, ..failure(error) };
        progress.decide(&config, &failure, &entropy)
    };
    for _ in 0..6 {
        decide(&plain);
    }
    decide(&asked);
    let RetryDecision::Again(pause) = decide(&plain) else { panic!("it is tried again") };
    assert!(pause < ms(50), "{pause:?}");
}
