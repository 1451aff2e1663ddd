//! The cases, one file per group; the list of them is in `list.rs`.

pub(super) mod cancel;
pub(super) mod concurrency;
pub(super) mod deadline;
pub(super) mod delivery;
pub(super) mod drain;
pub(super) mod errors;
pub(super) mod headers;
pub(super) mod idempotency;
pub(super) mod leak;
pub(super) mod panic;
pub(super) mod reconnect;
pub(super) mod round_trip;
pub(super) mod size;

use std::fmt::Write as _;

use rr_spi::{Code, Delivery, Error, Headers, Reason, Response};

/// What an error may say of a request that reached its handler.
const MAY_HAVE_RUN: &[Delivery] = &[Delivery::Unknown, Delivery::Processed];

/// Returns the error of a call.
#[track_caller]
fn error_of(outcome: Result<Response, Error>) -> Error {
    outcome.expect_err("the call was to fail")
}

/// Asserts what an error says.
#[track_caller]
fn assert_error(error: &Error, code: Code, deliveries: &[Delivery], reason: Option<&Reason>) {
    assert_eq!(error.code(), code, "{error:?}");
    assert!(deliveries.contains(&error.delivery()), "not one of {deliveries:?}: {error:?}");
    assert_eq!(error.reason(), reason, "{error:?}");
}

/// Asserts that a call ended because its connection did, after it had reached its handler.
#[track_caller]
fn assert_lost(error: &Error) {
    let reason = Some(&Reason::CONNECTION_LOST);
    assert_error(error, Code::Unavailable, &[Delivery::Unknown], reason);
}

/// Asserts that a call ended because nobody could be reached, whatever became of its bytes.
#[track_caller]
fn assert_unreached(error: &Error) {
    let ended = [Code::Unavailable, Code::DeadlineExceeded].contains(&error.code());
    assert!(ended && error.delivery() != Delivery::Processed, "{error:?}");
}

/// Returns the application's own headers: transports may add a content type and such. Those of one
/// name are in order; the order of names means nothing (RFC 9110 §5.3), and NATS clients lose it.
fn own(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let own = headers.iter().filter(|(name, _)| name.starts_with("x-"));
    let mut own: Vec<_> = own.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    own.sort_by(|(one, _), (other, _)| one.cmp(other));
    own
}

/// Returns everything that a caller can print of an error, its sources included.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error} {error:?} {} {:?}", error.hint(), error.details());
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        // Writing to a string cannot fail.
        let _ = write!(shown, " {inner} {inner:?}");
        source = inner.source();
    }
    shown
}
