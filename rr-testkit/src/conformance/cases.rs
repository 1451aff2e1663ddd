//! The cases, one file per group; `list.rs` lists them.

pub(super) mod cancel;
pub(super) mod concurrency;
pub(super) mod deadline;
pub(super) mod delivery;
pub(super) mod drain;
pub(super) mod errors;
pub(super) mod headers;
pub(super) mod idempotency;
pub(super) mod leak;
pub(super) mod observe;
pub(super) mod panic;
pub(super) mod reconnect;
pub(super) mod round_trip;
pub(super) mod size;

use std::fmt::Write as _;

use rr_spi::{Code, Delivery, Error, Headers, Reason, Response};

/// Deliveries that an error may report for a request that reached its handler.
const MAY_HAVE_RUN: &[Delivery] = &[Delivery::Unknown, Delivery::Processed];

/// Returns the error of a call that must have failed.
#[track_caller]
fn error_of(outcome: Result<Response, Error>) -> Error {
    outcome.expect_err("the call was to fail")
}

/// Asserts the code, delivery and reason of an error.
#[track_caller]
fn assert_error(error: &Error, code: Code, deliveries: &[Delivery], reason: Option<&Reason>) {
    assert_eq!(error.code(), code, "{error:?}");
    assert!(deliveries.contains(&error.delivery()), "not one of {deliveries:?}: {error:?}");
    assert_eq!(error.reason(), reason, "{error:?}");
}

/// Asserts that a call expired after it had reached its handler: at the caller, which waited for the
/// reply, or at the server, whose error came first.
#[track_caller]
fn assert_expired(error: &Error) {
    let is_own = error.delivery() == Delivery::Unknown;
    let reason = is_own.then_some(&Reason::EXPIRED_AWAITING_REPLY);
    assert_error(error, Code::DeadlineExceeded, MAY_HAVE_RUN, reason);
}

/// Asserts that a call failed because its connection was lost after it had reached its handler.
#[track_caller]
fn assert_lost(error: &Error) {
    let reason = Some(&Reason::CONNECTION_LOST);
    assert_error(error, Code::Unavailable, &[Delivery::Unknown], reason);
}

/// Asserts that a call failed because the server could not be reached, with any delivery but
/// `Processed`.
#[track_caller]
fn assert_unreached(error: &Error) {
    let ended = [Code::Unavailable, Code::DeadlineExceeded].contains(&error.code());
    assert!(ended && error.delivery() != Delivery::Processed, "{error:?}");
}

/// Returns the `x-` headers, without those that a transport adds, such as a content type. Values of
/// one name keep their order. Names are sorted: their order has no meaning (RFC 9110 §5.3), and
/// NATS clients lose it.
fn own(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let own = headers.iter().filter(|(name, _)| name.starts_with("x-"));
    let mut own: Vec<_> = own.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    own.sort_by(|(one, _), (other, _)| one.cmp(other));
    own
}

/// Returns all text that a caller can print of an error, including its sources.
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
