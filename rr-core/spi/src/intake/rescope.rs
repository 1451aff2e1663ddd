//! What a failed call further down amounts to, one hop further up.

use crate::error::{Code, Error, Origin, RetryHint};

/// Turns the failure of a call further down into an error of the handler that made the call.
///
/// The handler ran, so the error says `Processed`. Deadline, cancellation, exhaustion and
/// unavailability keep their code; everything else is `Internal` one hop up. Message, details,
/// headers and reason stay behind, unless the handler called [`Error::expose`], which lets the
/// text pass. Of the retry hint only `Never` goes on. A handler's own error is left alone.
#[must_use]
pub fn rescope(error: Error) -> Error {
    if !error.is_failure() {
        return error;
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
    fn own_errors_are_left_alone() {
        let own = Error::new(Code::NotFound, "no order 17").with_detail(Detail::new("a", "b"));
        let error = rescope(own);
        assert_eq!((error.code(), error.message()), (Code::NotFound, "no order 17"));
        assert_eq!(error.details().len(), 1);
    }
}
