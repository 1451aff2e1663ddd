//! Facts of an operation as logs and the admin page show them: text that a peer chose is escaped and
//! cut, and text that may quote a peer is left out.

use std::time::Duration;

use rr_spi::observe::{End, Kind, Start};
use rr_spi::{Context, Delivery, Origin, Peer, excerpt};

use super::fault::Fault;

/// Longest request id that is shown, in characters; proxies write 32 to 64.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Longest account that is shown, in characters; those of a few attempts are shorter.
const ACCOUNT_CHARS_MAX: usize = 512;

/// Returns the message of an error, unless it may quote what another process wrote. Neither escaped
/// nor cut.
pub(crate) fn own_message<'a>(end: &End<'a>) -> Option<&'a str> {
    let error = end.outcome.error()?;
    let is_foreign = match end.start.kind {
        // A refusal for a fault of the caller names what is wrong with its headers or its body.
        Kind::ServerRequest => {
            let fault = Fault::of(error.code(), Some(error));
            let is_of_caller = !matches!(fault, Fault::Service | Fault::Load);
            is_of_caller && end.outcome.delivery() == Delivery::Rejected
        }
        _ => error.origin() != Origin::Local,
    };
    Some(error.message()).filter(|text| !is_foreign && !text.is_empty())
}

/// Returns where the time of a failed call or attempt went, in words, if that is known.
pub(crate) fn account(end: &End<'_>) -> Option<String> {
    let error = end.outcome.error().filter(|_| end.start.kind != Kind::ServerRequest)?;
    let is_known = error.timeline().is_some() || !error.attempts().is_empty();
    is_known.then(|| excerpt(&error.account().to_string(), ACCOUNT_CHARS_MAX))
}

/// Returns the request id.
pub(crate) fn request_id(context: &Context) -> Option<String> {
    context.request_id().map(|id| excerpt(id, REQUEST_ID_CHARS_MAX))
}

/// Returns the address of the other end of the connection on which a request arrived.
pub(crate) fn peer(start: &Start<'_>) -> Option<String> {
    start.peer.and_then(Peer::address).map(|address| address.to_string())
}

/// Returns the number of earlier attempts. The caller of a request states it, a call counts it.
pub(crate) fn retries(kind: Kind, context: &Context) -> u32 {
    match kind {
        Kind::ServerRequest => context.inbound_retries(),
        _ => context.retries(),
    }
}

/// Returns a duration in milliseconds, to the microsecond.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
