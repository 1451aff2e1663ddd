//! Re-scoping: converts the error of a downstream call into an error of the calling handler.

use crate::error::{Code, Error, Origin, RetryDecision, RetryHint};
use crate::response::Response;

/// Converts the outcome of a handler into its own reply: errors are re-scoped, and the duplicate
/// suppression of another responder is removed.
pub(crate) fn rescope_outcome(outcome: Result<Response, Error>) -> Result<Response, Error> {
    match outcome {
        Ok(response) => Ok(response.with_dedup(None)),
        Err(error) => Err(rescope(error)),
    }
}

/// Converts the error of a downstream call into an error of the handler that made the call.
///
/// The handler ran, so the delivery is `Processed`. Deadline, cancellation, exhaustion and
/// unavailability keep their code; every other code becomes `Internal`. Message, details, headers
/// and reason are removed, but [`Error::expose`] keeps the message. Of the retry hints, only
/// `Never` is kept. An error that the handler's own retry layer has retried, or could not retry for
/// want of budget, gets the hint `Never`: only the layer next to the failure retries (Site
/// Reliability Engineering, chapter 22). A handler's own error stays unchanged, except that its
/// duplicate suppression is removed: a handler cannot set it.
#[must_use]
pub fn rescope(error: Error) -> Error {
    if !error.is_failure() {
        return error.with_dedup(None);
    }
    let code = match error.code() {
        code @ (Code::DeadlineExceeded
        | Code::Canceled
        | Code::ResourceExhausted
        | Code::Unavailable) => code,
        _ => Code::Internal,
    };
    let is_final = error.retry() == RetryHint::Never || was_retried(&error);
    let retry = if is_final { RetryHint::Never } else { RetryHint::Unset };
    let message =
        if error.is_exposed() { error.message().to_owned() } else { generic_message(code, &error) };
    Error::new(code, message).with_retry(retry).with_source(error)
}

/// Re-scopes the error of a call that a server's middleware made.
///
/// Errors that the middleware itself made, and errors that a bridge passes on, stay unchanged.
#[must_use]
pub fn rescope_called(error: Error) -> Error {
    if error.is_called() { rescope(error) } else { error }
}

/// Returns whether a retry layer has tried the call again, or found its budget spent.
fn was_retried(error: &Error) -> bool {
    let mut decisions = error.attempts().iter().filter_map(|attempt| attempt.decision);
    decisions.any(|it| matches!(it, RetryDecision::Again(_) | RetryDecision::BudgetSpent))
}

/// Returns the text that replaces the message of a downstream error and quotes nothing of it.
fn generic_message(code: Code, error: &Error) -> String {
    let text = match code {
        Code::DeadlineExceeded => "the deadline passed in a call further down",
        Code::Canceled => "a call further down was cancelled",
        Code::ResourceExhausted => "a service further down is at its limit",
        Code::Unavailable => "a service further down is unavailable",
        // A local error may also come from a reply that the handler could not make.
        _ if error.origin() == Origin::Local => "the handler failed",
        _ => "a call further down failed",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dedup::Dedup;
    use crate::error::{AttemptRecord, Delivery, Detail, Reason};
    use crate::headers::Headers;

    fn downstream(code: Code, retry: RetryHint) -> Error {
        let mut headers = Headers::new();
        headers.insert("x-secret", "s").unwrap();
        Error::failure(code, Delivery::NotSent, Reason::DRAINING, "secret text")
            .with_detail(Detail::new("secret", "s"))
            .with_headers(headers)
            .with_retry(retry)
    }

    #[test]
    fn no_downstream_content_leaks_and_no_delivery_is_unexecuted() {
        for code in Code::ALL {
            let error = rescope(downstream(code, RetryHint::Unset));
            assert_eq!(error.delivery(), Delivery::Processed);
            assert!(error.details().is_empty() && error.headers().is_empty());
            assert!(!error.message().contains("secret") && error.reason().is_none());
        }
    }

    #[test]
    fn only_the_hint_never_and_exposed_text_pass() {
        let error = rescope(downstream(Code::Unavailable, RetryHint::Never));
        assert_eq!((error.code(), error.retry()), (Code::Unavailable, RetryHint::Never));
        let after = RetryHint::After(Duration::from_secs(1));
        let error = rescope(downstream(Code::NotFound, after).expose());
        assert_eq!((error.code(), error.retry()), (Code::Internal, RetryHint::Unset));
        assert_eq!(error.message(), "secret text");
    }

    #[test]
    fn an_error_that_was_retried_is_not_retried_again() {
        use RetryDecision::{Again, AttemptsSpent, BudgetSpent, Moved, Resend};
        let again = Again(Duration::from_millis(50));
        for (decisions, hint) in [
            (vec![again, AttemptsSpent], RetryHint::Never),
            (vec![BudgetSpent], RetryHint::Never),
            (vec![Resend, AttemptsSpent], RetryHint::Unset),
            (vec![Moved], RetryHint::Unset),
            (vec![], RetryHint::Unset),
        ] {
            let error = downstream(Code::Unavailable, RetryHint::Unset);
            let record =
                |decision| AttemptRecord::of(&error, Duration::ZERO).with_decision(decision);
            let attempts = decisions.iter().map(|decision| record(*decision)).collect();
            assert_eq!(rescope(error.with_attempts(attempts)).retry(), hint, "{decisions:?}");
        }
    }

    #[test]
    fn dedup_of_another_responder_is_dropped() {
        let response = Response::new("").with_dedup(Dedup::On);
        assert_eq!(rescope_outcome(Ok(response)).unwrap().dedup(), None);
        for error in [Error::new(Code::Aborted, ""), downstream(Code::Aborted, RetryHint::Unset)] {
            let error = rescope_outcome(Err(error.with_dedup(Dedup::Replayed))).unwrap_err();
            assert_eq!(error.dedup(), None);
        }
    }

    #[test]
    fn own_errors_are_left_alone() {
        let own = Error::new(Code::NotFound, "no order 17").with_detail(Detail::new("a", "b"));
        let error = rescope(own);
        assert_eq!((error.code(), error.message()), (Code::NotFound, "no order 17"));
        assert_eq!(error.details().len(), 1);
    }
}
