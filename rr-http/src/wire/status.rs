//! Statuses of foreign servers and proxies (docs/src/wire.md#code-of-a-status).

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use rr_spi::{Code, Delivery, Error, Origin, Reason, RetryHint};

use crate::config::HttpStatusCodes;

/// Makes the error for a foreign status. Only a status whose definition rules out any processing is
/// `Rejected`.
pub(crate) fn of_status(status: StatusCode, headers: &HeaderMap, codes: HttpStatusCodes) -> Error {
    let (code, delivery) = match status.as_u16() {
        400 | 422 => (Code::InvalidArgument, Delivery::Unknown),
        401 => (Code::Unauthenticated, Delivery::Unknown),
        403 => (Code::PermissionDenied, Delivery::Unknown),
        404 | 405 | 415 | 501 => (Code::Unimplemented, Delivery::Unknown),
        408 => (Code::DeadlineExceeded, Delivery::Unknown),
        409 => (Code::Aborted, Delivery::Unknown),
        412 => (Code::FailedPrecondition, Delivery::Unknown),
        413 | 429 => (Code::ResourceExhausted, Delivery::Unknown),
        431 => (Code::ResourceExhausted, Delivery::Rejected),
        421 | 425 => (Code::Unavailable, Delivery::Rejected),
        502..=504 => (Code::Unavailable, Delivery::Unknown),
        _ => (Code::Unknown, Delivery::Unknown),
    };
    let reason = matches!(status.as_u16(), 413 | 431).then_some(Reason::REQUEST_TOO_LARGE);
    let text = format!("HTTP status {}", status.as_u16());
    let error = Error::failure(code, delivery, reason, text);
    let error = match codes {
        HttpStatusCodes::Http => error,
        HttpStatusCodes::Connect => with_code(error, connect_code(status)),
    };
    let error = error.with_origin(Origin::Intermediary);
    let hinted = matches!(status.as_u16(), 429 | 502..=504);
    let mut hints = headers.get_all(header::RETRY_AFTER).iter();
    match (hints.next().filter(|_| hinted), hints.next()) {
        (None, _) => error,
        (Some(only), None) => error.with_retry(retry_after(only.to_str().unwrap_or_default())),
        (Some(_), Some(_)) => error.with_retry(RetryHint::Never),
    }
}

/// Returns the code of a status by Connect's table ("HTTP to Error Code").
fn connect_code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// Replaces the code of an error. The reason belongs to the old code and is dropped; the hint and
/// the retry hint stay.
fn with_code(error: Error, code: Code) -> Error {
    if error.code() == code {
        return error;
    }
    let message = error.message().to_owned();
    Error::failure(code, error.delivery(), None, message)
        .with_retry(error.retry())
        .with_hint(error.hint().to_owned())
}

/// Reads `Retry-After`: seconds or a date (RFC 9110 §10.2.3). Garbage counts as never, and so does
/// more than 300 s, by [`Error::with_retry`].
fn retry_after(text: &str) -> RetryHint {
    let after = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok().map(Duration::from_secs)
    } else {
        httpdate::parse_http_date(text).ok().map(until)
    };
    match after {
        Some(after) => RetryHint::After(after),
        None => RetryHint::Never,
    }
}

/// Returns how long it is until a date; zero when it has passed.
#[expect(clippy::disallowed_methods, reason = "a date on the wire means the wall clock")]
fn until(date: std::time::SystemTime) -> Duration {
    date.duration_since(std::time::SystemTime::now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_that_say_so_claim_rejected() {
        for status in 100..=599 {
            let status = StatusCode::from_u16(status).unwrap();
            let error = of_status(status, &HeaderMap::new(), HttpStatusCodes::Connect);
            let rejected = matches!(status.as_u16(), 421 | 425 | 431);
            let expected = if rejected { Delivery::Rejected } else { Delivery::Unknown };
            assert_eq!(error.delivery(), expected, "{status}");
            assert_eq!(error.origin(), Origin::Intermediary);
        }
    }

    #[test]
    fn foreign_statuses_have_the_codes_of_connect_unless_configured_otherwise() {
        for (status, connect, http) in [
            (400, Code::Internal, Code::InvalidArgument),
            (401, Code::Unauthenticated, Code::Unauthenticated),
            (403, Code::PermissionDenied, Code::PermissionDenied),
            (404, Code::Unimplemented, Code::Unimplemented),
            (405, Code::Unknown, Code::Unimplemented),
            (408, Code::Unknown, Code::DeadlineExceeded),
            (409, Code::Unknown, Code::Aborted),
            (412, Code::Unknown, Code::FailedPrecondition),
            (413, Code::Unknown, Code::ResourceExhausted),
            (415, Code::Unknown, Code::Unimplemented),
            (421, Code::Unknown, Code::Unavailable),
            (422, Code::Unknown, Code::InvalidArgument),
            (425, Code::Unknown, Code::Unavailable),
            (429, Code::Unavailable, Code::ResourceExhausted),
            (431, Code::Unknown, Code::ResourceExhausted),
            (500, Code::Unknown, Code::Unknown),
            (501, Code::Unknown, Code::Unimplemented),
            (502, Code::Unavailable, Code::Unavailable),
            (503, Code::Unavailable, Code::Unavailable),
            (504, Code::Unavailable, Code::Unavailable),
        ] {
            let of =
                |codes| of_status(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), codes);
            let (ours, theirs) = (of(HttpStatusCodes::Connect), of(HttpStatusCodes::Http));
            assert_eq!((ours.code(), theirs.code()), (connect, http), "{status}");
            assert_eq!(ours.delivery(), theirs.delivery(), "{status}");
            assert_eq!((ours.retry(), ours.hint()), (theirs.retry(), theirs.hint()), "{status}");
        }
        let of = |codes| of_status(StatusCode::PAYLOAD_TOO_LARGE, &HeaderMap::new(), codes);
        assert_eq!(of(HttpStatusCodes::Connect).retry(), RetryHint::Never);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_garbage_is_never() {
        assert_eq!(retry_after("7"), RetryHint::After(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), RetryHint::After(Duration::ZERO));
        for never in ["-1", "+5", "5.0", "soon", ""] {
            assert_eq!(retry_after(never), RetryHint::Never, "{never}");
        }
        let hint = |values: &[&'static str]| {
            let values = values.iter().map(|value| http::HeaderValue::from_static(value));
            let map = values.map(|value| (header::RETRY_AFTER, value)).collect();
            of_status(StatusCode::SERVICE_UNAVAILABLE, &map, HttpStatusCodes::Connect).retry()
        };
        assert_eq!(hint(&[]), RetryHint::Unset);
        assert_eq!(hint(&["7"]), RetryHint::After(Duration::from_secs(7)));
        for never in [&["7", "7"][..], &["301"], &["Fri, 31 Dec 9999 23:59:59 GMT"]] {
            assert_eq!(hint(never), RetryHint::Never, "{never:?}");
        }
    }
}
