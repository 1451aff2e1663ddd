//! Foreign errors and statuses, and what they say of the handler.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use rr_spi::{Code, Delivery, Error, Origin, Reason, RetryHint};

use crate::config::{HttpRefusals, HttpStatusCodes};

/// A reply other than a success, as it came: the source of the error that it became.
///
/// # Examples
///
/// ```
/// use std::error::Error as _;
///
/// fn status(error: &rr_spi::Error) -> Option<u16> {
///     let raw = error.source()?.downcast_ref::<rr_http::RawReply>()?;
///     Some(raw.status)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawReply {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most its first 64 KiB.
    pub body: Bytes,
}

impl RawReply {
    pub(crate) fn new(status: StatusCode, body: Bytes) -> Self {
        Self { status: status.as_u16(), body }
    }
}

impl fmt::Display for RawReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {} with {} bytes", self.status, self.body.len())
    }
}

impl std::error::Error for RawReply {}

/// Makes the error for a connection that could not be made: nothing was sent.
pub(crate) fn connect_failed(authority: &str, source: std::io::Error) -> Error {
    let message = format!("no connection to {authority}: {source}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_source(source)
}

/// Makes the error for a connection that was not made in time: nothing was sent.
pub(crate) fn connect_timed_out(authority: &str, after: Duration) -> Error {
    let message = format!("no connection to {authority} within {after:?}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
}

/// Makes the error for a connection that was made and ended before it was of any use: nothing was
/// sent on it.
pub(crate) fn closed_early(authority: &str) -> Error {
    let message = format!("{authority} closed the connection at once");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_hint("check that the server speaks HTTP/2 without TLS, or leave out `version=h2c`")
}

/// Makes the error for a request that every connection handed back unwritten.
pub(crate) fn handed_back() -> Error {
    let message = "connections closed before the request was written";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NOT_CONNECTED, message)
}

/// Makes the error for a connection that broke after bytes may have left.
pub(crate) fn lost(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = "the connection broke before the reply was complete";
    Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, message)
        .with_source(source)
}

/// Makes the error for a reply that cannot be understood.
pub(crate) fn bad_response(delivery: Delivery, message: &'static str) -> Error {
    Error::failure(Code::Internal, delivery, Reason::BAD_RESPONSE, message)
}

/// What an error of hyper's means once the request was written, in whole or in part.
pub(crate) fn of_hyper(error: hyper::Error) -> Error {
    if error.is_parse() {
        return bad_response(Delivery::Unknown, "the reply is no HTTP").with_source(error);
    }
    lost(error)
}

/// Returns whether the server's GOAWAY says that it did not process the stream: one above the last
/// that the GOAWAY counts (RFC 9113 §6.8).
pub(crate) fn is_spared(error: &h2::Error) -> bool {
    error.is_remote() && error.is_go_away()
}

/// Makes the error for a stream that failed once its request was handed over.
///
/// A frame proves something only of the hop that sent it. `REFUSED_STREAM` is therefore `Unknown`
/// unless the configuration says that there is no proxy.
pub(crate) fn of_h2(error: h2::Error, believed: HttpRefusals) -> Error {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let refused = refused && error.is_remote();
    if refused || is_spared(&error) {
        let is_proof = match believed {
            HttpRefusals::None => false,
            HttpRefusals::GoAway => is_spared(&error),
            HttpRefusals::All => true,
        };
        let delivery = if is_proof { Delivery::Rejected } else { Delivery::Unknown };
        let message = "the server refused the stream";
        return Error::failure(Code::Unavailable, delivery, None, message)
            .with_origin(Origin::Peer)
            .with_source(error);
    }
    if error.is_go_away() || (error.is_reset() && !error.is_remote()) {
        return bad_response(Delivery::Unknown, "the reply is no HTTP/2").with_source(error);
    }
    lost(error)
}

/// Returns the status that an error is answered with.
pub(crate) fn status_of(error: &Error) -> StatusCode {
    let reason = error.reason();
    match error.code() {
        // Nginx's "client closed request", as Connect uses it.
        Code::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted if reason == Some(&Reason::REQUEST_TOO_LARGE) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented if reason == Some(&Reason::NO_SUCH_TARGET) => StatusCode::NOT_FOUND,
        Code::Unimplemented if reason == Some(&Reason::CODEC) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Makes the error that a foreign status amounts to. Only statuses whose definition says that
/// nothing was done may claim `Rejected`.
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

/// Replaces the code of an error. The reason belongs to the code before and goes with it; the hint
/// and the retry hint stay.
fn with_code(error: Error, code: Code) -> Error {
    if error.code() == code {
        return error;
    }
    let message = error.message().to_owned();
    Error::failure(code, error.delivery(), None, message)
        .with_retry(error.retry())
        .with_hint(error.hint().to_owned())
}

/// Longest `Retry-After` that is believed; a longer one counts as never.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Reads `Retry-After`: seconds or a date (RFC 9110 §10.2.3); garbage counts as never.
fn retry_after(text: &str) -> RetryHint {
    let after = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok().map(Duration::from_secs)
    } else {
        httpdate::parse_http_date(text).ok().map(until)
    };
    match after {
        Some(after) if after <= RETRY_AFTER_MAX => RetryHint::After(after),
        _ => RetryHint::Never,
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
    fn every_code_has_the_status_of_the_wire_format() {
        let table = [
            (Code::Canceled, 499),
            (Code::Unknown, 500),
            (Code::InvalidArgument, 400),
            (Code::DeadlineExceeded, 504),
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::PermissionDenied, 403),
            (Code::ResourceExhausted, 429),
            (Code::FailedPrecondition, 400),
            (Code::Aborted, 409),
            (Code::OutOfRange, 400),
            (Code::Unimplemented, 501),
            (Code::Internal, 500),
            (Code::Unavailable, 503),
            (Code::DataLoss, 500),
            (Code::Unauthenticated, 401),
        ];
        for (code, status) in table {
            assert_eq!(status_of(&Error::new(code, "")).as_u16(), status, "{code}");
        }
        let with = |code, reason| status_of(&Error::new(code, "").with_reason(reason)).as_u16();
        assert_eq!(with(Code::ResourceExhausted, Reason::REQUEST_TOO_LARGE), 413);
        assert_eq!(with(Code::Unimplemented, Reason::NO_SUCH_TARGET), 404);
        assert_eq!(with(Code::Unimplemented, Reason::CODEC), 415);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_garbage_is_never() {
        assert_eq!(retry_after("7"), RetryHint::After(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), RetryHint::After(Duration::ZERO));
        for never in ["301", "-1", "+5", "5.0", "soon", "", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(retry_after(never), RetryHint::Never, "{never}");
        }
        let hint = |values: &[&'static str]| {
            let values = values.iter().map(|value| http::HeaderValue::from_static(value));
            let map = values.map(|value| (header::RETRY_AFTER, value)).collect();
            of_status(StatusCode::SERVICE_UNAVAILABLE, &map, HttpStatusCodes::Connect).retry()
        };
        assert_eq!(hint(&[]), RetryHint::Unset);
        assert_eq!(hint(&["7"]), RetryHint::After(Duration::from_secs(7)));
        assert_eq!(hint(&["7", "7"]), RetryHint::Never);
    }
}
