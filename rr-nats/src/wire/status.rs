//! Status codes of foreign services.

use rr_spi::Code;

/// Returns the code for a foreign service's number (docs/src/wire.md#errors-over-nats). Another
/// number, or other text, is `Unknown`.
///
/// The number comes from the service itself. Over HTTP, any hop in between may have sent it.
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
