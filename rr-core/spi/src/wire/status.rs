//! The HTTP status of an error, which NATS carries as a number (docs/src/wire.md#status-of-a-code).

use crate::error::{Code, Error, Reason};

/// Returns the HTTP status of an error reply.
///
/// # Examples
///
/// ```
/// use rr_spi::wire::status_of;
/// use rr_spi::{Code, Error};
///
/// assert_eq!(status_of(&Error::new(Code::NotFound, "no such order")), 404);
/// ```
#[must_use]
pub fn status_of(error: &Error) -> u16 {
    let is = |reason: &Reason| error.reason() == Some(reason);
    match error.code() {
        // Nginx's "client closed request", as Connect uses it.
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
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_status_of_the_wire_reference() {
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
            assert_eq!(status_of(&Error::new(code, "")), status, "{code}");
        }
        let with = |code, reason| status_of(&Error::new(code, "").with_reason(reason));
        assert_eq!(with(Code::ResourceExhausted, Reason::REQUEST_TOO_LARGE), 413);
        assert_eq!(with(Code::Unimplemented, Reason::NO_SUCH_TARGET), 404);
        assert_eq!(with(Code::Unimplemented, Reason::CODEC), 415);
    }
}
