//! The event of a failed operation.

use std::error::Error as StdError;

use rr_spi::observe::{End, Kind};
use rr_spi::{Error, Origin, Reason, Target, excerpt};
use tracing::{Level, event};

use super::{levels, service};
use crate::observe::shown::{account, millis, own_message, peer, request_id};

/// Longest text of an error, in characters; the messages of rr's own errors are shorter.
pub(super) const ERROR_CHARS_MAX: usize = 256;

/// Longest message of a panic, in characters; an assertion quotes both of its sides.
const PANIC_CHARS_MAX: usize = 512;

/// Maximum number of sources that are followed: a chain that refers to itself has no end.
const SOURCES_MAX: usize = 8;

/// Logs a failed operation at this level.
pub(super) fn log(end: &End<'_>, level: Level) {
    let start = &end.start;
    macro_rules! failed {
        ($target:literal, $level:expr, $message:literal) => {
            event!(
                target: $target,
                $level,
                {
                    rpc.service = service(start),
                    rpc.method = start.target.map(Target::method),
                    request_id = request_id(start.context),
                    peer = peer(start),
                    rr.code = end.outcome.status(),
                    rr.reason = levels::reason(end),
                    rr.delivery = end.outcome.delivery().as_str(),
                    elapsed_ms = millis(end.elapsed()),
                    error = own_message(end).map(|text| excerpt(text, ERROR_CHARS_MAX)),
                    account = account(end),
                    panic = end.panic.map(|panic| excerpt(panic, PANIC_CHARS_MAX)),
                    source = sources(end, level),
                },
                $message
            )
        };
    }
    // The level of an event is fixed where it is written.
    macro_rules! at_level {
        ($target:literal, $message:literal) => {
            match level {
                Level::ERROR => failed!($target, Level::ERROR, $message),
                Level::WARN => failed!($target, Level::WARN, $message),
                Level::INFO => failed!($target, Level::INFO, $message),
                _ => failed!($target, Level::DEBUG, $message),
            }
        };
    }
    match start.kind {
        Kind::ClientCall => at_level!("rr::client", "call failed"),
        Kind::ClientAttempt => at_level!("rr::attempt", "attempt failed"),
        _ => at_level!("rr::server", "request failed"),
    }
}

/// Returns the sources of an error that the service is at fault for, outermost first.
fn sources(end: &End<'_>, level: Level) -> Option<String> {
    let is_logged = end.start.kind == Kind::ServerRequest && level == Level::ERROR;
    let error = end.outcome.error().filter(|_| is_logged)?;
    let (mut text, mut next) = (String::new(), error.source());
    for _ in 0..SOURCES_MAX {
        let Some(source) = next else { break };
        let separator = if text.is_empty() { "" } else { ": " };
        text.push_str(separator);
        match source.downcast_ref::<Error>() {
            Some(error) if may_quote(error) => {
                text.push_str(&outline(error));
                break;
            }
            _ => text.push_str(&source.to_string()),
        }
        next = source.source();
    }
    (!text.is_empty()).then(|| excerpt(&text, ERROR_CHARS_MAX))
}

/// Returns whether the message of a call's error, or its sources, may be the text of another service
/// or of a reply.
fn may_quote(error: &Error) -> bool {
    let about_body = [Reason::BAD_RESPONSE, Reason::CODEC, Reason::DECODE];
    let is_about_body = error.reason().is_some_and(|reason| about_body.contains(reason));
    is_about_body || error.origin() != Origin::Local
}

/// Returns an error without its message.
fn outline(error: &Error) -> String {
    let reason = error.reason().map(|reason| format!("/{reason}")).unwrap_or_default();
    format!("{}{reason} ({})", error.code(), error.delivery().as_str())
}
