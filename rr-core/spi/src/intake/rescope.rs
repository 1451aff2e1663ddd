//! What a failed call further down amounts to, one hop further up.

use crate::error::{Code, Error, Origin, RetryHint};
use crate::response::Response;

/// Turns what a handler returned into its own answer: errors are re-scoped, and what another
/// responder said of duplicates does not hold for this one.
pub(crate) fn own(outcome: Result<Response, Error>) -> Result<Response, Error> {
    match outcome {
        Ok(response) => Ok(response.with_dedup(None)),
        Err(error) => Err(rescope(error)),
    }
}

/// Turns the failure of a call further down into an error of the handler that made the call.
///
/// The handler ran, so the error says `Processed`. Deadline, cancellation, exhaustion and
/// unavailability keep their code; everything else is `Internal` one hop up. Message, details,
/// headers and reason stay behind, unless the handler called [`Error::expose`], which lets the
/// text pass. Of the retry hint only `Never` goes on. A handler's own error is left alone, but for
/// what it says of duplicates, which is not a handler's to say.
#[must_use]
pub fn rescope(error: Error) -> Error {
    if !error.is_failure() {
        return error.with_dedup(None);
    }
    let code = match error.code() {
        kept @ (Code::DeadlineExceeded
        | Code::Canceled
        | Code::ResourceExhausted
        | Code::Unavailable) => kept,
        _ => Code::Internal,
    };
    let retry = match error.retry() {
        RetryHint::Never => RetryHint::Never,
        _ => RetryHint::Unset,
    };
    let message =
        if error.is_exposed() { error.message().to_owned() } else { generic(code, &error) };
    Error::new(code, message).with_retry(retry).with_source(error)
}

/// Re-scopes the outcome of a call that a server's middleware made; leaves alone what the
/// middleware made itself, and what a bridge passes on.
#[must_use]
pub fn rescope_called(error: Error) -> Error {
    if error.is_called() { rescope(error) } else { error }
}

fn generic(code: Code, error: &Error) -> String {
    let text = match code {
        Code::DeadlineExceeded => "the deadline passed in a call further down",
        Code::Canceled => "a call further down was cancelled",
        Code::ResourceExhausted => "a service further down is at its limit",
        Code::Unavailable => "a service further down is unavailable",
        // What never left this process may as well be a reply that the handler could not make.
        _ if error.origin() == Origin::Local => "the handler failed",
        _ => "a call further down failed",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Delivery, Detail, Reason};
    use crate::headers::Headers;
    use crate::idempotency::Dedup;

    fn downstream(code: Code, retry: RetryHint) -> Error {
        let mut headers = Headers::new();
        headers.insert("x-secret", "s").unwrap();
        Error::failure(code, Delivery::NotSent, Reason::DRAINING, "secret text")
            .with_detail(Detail::new("secret", "s"))
            .with_headers(headers)
            .with_retry(retry)
    }

    #[test]
    fn nothing_of_a_downstream_leaks_and_nothing_says_unexecuted() {
        for code in Code::ALL {
            let error = rescope(downstream(code, RetryHint::Unset));
            assert_eq!(error.delivery(), Delivery::Processed);
            assert!(error.details().is_empty() && error.headers().is_empty());
            assert!(!error.message().contains("secret") && error.reason().is_none());
        }
    }

    #[test]
    fn only_never_goes_on_and_only_exposed_text_passes() {
        let error = rescope(downstream(Code::Unavailable, RetryHint::Never));
        assert_eq!((error.code(), error.retry()), (Code::Unavailable, RetryHint::Never));
        let after = RetryHint::After(std::time::Duration::from_secs(1));
        let error = rescope(downstream(Code::NotFound, after).expose());
        assert_eq!((error.code(), error.retry()), (Code::Internal, RetryHint::Unset));
        assert_eq!(error.message(), "secret text");
    }

    #[test]
    fn what_another_responder_said_of_duplicates_stays_behind() {
        let response = Response::new("").with_dedup(Dedup::On);
        assert_eq!(own(Ok(response)).unwrap().dedup(), None);
        for error in [Error::new(Code::Aborted, ""), downstream(Code::Aborted, RetryHint::Unset)] {
            let error = own(Err(error.with_dedup(Dedup::Replayed))).unwrap_err();
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
