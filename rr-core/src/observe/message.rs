//! Messages of errors that may be shown.

use rr_spi::observe::{End, Kind};
use rr_spi::{Code, Delivery, Error, Origin, Reason};

/// Returns the message of an error, unless it may quote what another process wrote.
pub(crate) fn own_message<'a>(end: &End<'a>) -> Option<&'a str> {
    let error = end.outcome.error()?;
    let is_foreign = match end.start.kind {
        // A refusal for a fault of the caller names what is wrong with its headers or its body.
        Kind::ServerRequest => {
            end.outcome.delivery() == Delivery::Rejected && is_fault_of_caller(error)
        }
        _ => error.origin() != Origin::Local,
    };
    Some(error.message()).filter(|text| !is_foreign && !text.is_empty())
}

/// Returns whether neither the service nor its load is to blame.
fn is_fault_of_caller(error: &Error) -> bool {
    if error.reason() == Some(&Reason::REQUEST_TOO_LARGE) {
        return true;
    }
    let of_service = [
        Code::Internal,
        Code::Unknown,
        Code::DataLoss,
        Code::DeadlineExceeded,
        Code::Unavailable,
        Code::ResourceExhausted,
    ];
    error.reason() != Some(&Reason::RESPONSE_TOO_LARGE) && !of_service.contains(&error.code())
}
