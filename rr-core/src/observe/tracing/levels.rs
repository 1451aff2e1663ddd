//! Level of a failed operation, by its kind, its code and its reason.

use rr_spi::observe::{End, Kind};
use rr_spi::{Code, Error, Reason};
use tracing::Level;

/// Returns the level of a failure; `None` for a success.
pub(super) fn of(end: &End<'_>) -> Option<Level> {
    let code = end.outcome.code()?;
    let at_server = of_code(code, end.outcome.error().and_then(Error::reason));
    // A client is not at fault for what its peer did.
    let is_capped = end.start.kind != Kind::ServerRequest && at_server == Level::ERROR;
    Some(if is_capped { Level::WARN } else { at_server })
}

fn of_code(code: Code, reason: Option<&Reason>) -> Level {
    match reason {
        Some(reason) if *reason == Reason::REQUEST_TOO_LARGE => return Level::INFO,
        Some(reason) if *reason == Reason::RESPONSE_TOO_LARGE => return Level::ERROR,
        _ => {}
    }
    match code {
        Code::Internal | Code::Unknown | Code::DataLoss => Level::ERROR,
        Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted => Level::WARN,
        Code::InvalidArgument
        | Code::Unimplemented
        | Code::Unauthenticated
        | Code::PermissionDenied => Level::INFO,
        _ => Level::DEBUG,
    }
}

/// Returns whether the span of a failure counts as an error: each failure of a client but a
/// cancellation, and those of a server that are not the caller's fault.
pub(super) fn is_error(end: &End<'_>, level: Level) -> bool {
    match end.start.kind {
        Kind::ServerRequest => level <= Level::WARN,
        _ => end.outcome.code() != Some(Code::Canceled),
    }
}

pub(super) fn reason<'a>(end: &End<'a>) -> Option<&'a str> {
    end.outcome.error().and_then(Error::reason).map(Reason::as_str)
}
