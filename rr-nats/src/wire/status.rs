//! Codes as the numbers of `Nats-Service-Error-Code`, and back for foreign services.

use rr_spi::{Code, Error, Reason};

/// Returns the number that stands for an error: the HTTP status
/// (docs/src/wire.md#status-of-a-code).
pub(super) fn status_of(error: &Error) -> u16 {
    let is = |reason: &Reason| error.reason() == Some(reason);
    match error.code() {
        Code::Canceled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted if is(&Reason::REQUEST_TOO_LARGE) => 413,
        Code::ResourceExhausted => 429,
        Code::Unimplemented if is(&Reason::NO_SUCH_TARGET) => 404,
        Code::Unimplemented if is(&Reason::CODEC) => 415,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        _ => 500,
    }
}

/// Returns the code of a foreign service's number (docs/src/wire.md#errors-over-nats); another
/// number, or a text that is none, is `Unknown`.
///
/// The number is the service's own word: on HTTP, any hop in between may have said it.
pub(super) fn code_of(text: &str) -> Code {
    match text.trim().parse::<u16>() {
        Ok(400) => Code::InvalidArgument,
        Ok(401) => Code::Unauthenticated,
        Ok(403) => Code::PermissionDenied,
        Ok(404) => Code::NotFound,
        Ok(408 | 504) => Code::DeadlineExceeded,
        Ok(409) => Code::Aborted,
        Ok(412) => Code::FailedPrecondition,
        Ok(429) => Code::ResourceExhausted,
        Ok(500) => Code::Internal,
        Ok(501) => Code::Unimplemented,
        Ok(503) => Code::Unavailable,
        _ => Code::Unknown,
    }
}
