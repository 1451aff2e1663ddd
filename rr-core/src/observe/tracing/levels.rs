//! Level of a failed operation, by its kind and by who is at fault.

use rr_spi::observe::{End, Kind};
use rr_spi::{Code, Error, Reason};
use tracing::Level;

use crate::observe::fault::Fault;

/// Returns the level of a failure; `None` for a success.
pub(super) fn of(end: &End<'_>) -> Option<Level> {
    let code = end.outcome.code()?;
    let at_server = match Fault::of(code, end.outcome.error()) {
        Fault::Service => Level::ERROR,
        Fault::Load => Level::WARN,
        Fault::Caller => Level::INFO,
        Fault::NoParty => Level::DEBUG,
    };
    // A client is not at fault for what its peer did.
    let is_capped = end.start.kind != Kind::ServerRequest && at_server == Level::ERROR;
    Some(if is_capped { Level::WARN } else { at_server })
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
