//! Foreign errors, and what they say of the handler.

use std::fmt::Display;

use async_nats::client::PublishErrorKind;
use async_nats::{ConnectError, ConnectErrorKind, PublishError, SubscribeError};
use rr_spi::{Code, Delivery, Error, Reason};

/// Makes the error for a connection that could not be made: nothing was sent.
pub(crate) fn connect(address: &str, source: ConnectError) -> Error {
    let message = format!("no connection to {address}: {}", source.kind());
    let error = match source.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Error::failure(Code::Unauthenticated, Delivery::NotSent, None, message).with_hint(
                "the NATS server refused the credentials: put them right there, or in the URL, \
                     as in `nats://user:password@host`",
            )
        }
        ConnectErrorKind::ServerParse => {
            Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
        }
        _ => {
            let reason = Reason::CONNECT_FAILED;
            Error::failure(Code::Unavailable, Delivery::NotSent, reason, message)
        }
    };
    error.with_source(source)
}

/// Makes the error for a connection that was made and did not answer in time.
pub(crate) fn unproven(address: &str) -> Error {
    let message = format!("{address} accepted the connection and did not answer");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
}

/// Makes the error for a call while there is no connection: nothing was sent.
pub(crate) fn not_connected() -> Error {
    let message = "there is no connection to a NATS server at the moment";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NOT_CONNECTED, message)
}

/// Makes the error for a requester whose runtime has ended.
pub(crate) fn closed() -> Error {
    let message = "the runtime of this requester has ended";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CLOSED, message)
}

/// Makes the error for a call whose connection was lost; `delivery` is what the call knows.
pub(crate) fn lost(delivery: Delivery) -> Error {
    if delivery == Delivery::NotSent {
        return not_connected();
    }
    let message = "the connection was lost before the reply came";
    Error::failure(Code::Unavailable, delivery, Reason::CONNECTION_LOST, message)
}

/// Makes the error for a message that the connection did not take: it was not sent.
pub(crate) fn publish(source: PublishError) -> Error {
    let (code, reason) = match source.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            (Code::ResourceExhausted, Some(Reason::REQUEST_TOO_LARGE))
        }
        PublishErrorKind::InvalidSubject => (Code::InvalidArgument, None),
        PublishErrorKind::Send => return not_connected(),
    };
    let message = source.to_string();
    Error::failure(code, Delivery::NotSent, reason, message).with_source(source)
}

/// Makes the error for a request that is longer than the server takes: it was not sent.
pub(crate) fn longer_than(bytes_max: usize, bytes: usize) -> Error {
    let message =
        format!("the request has {bytes} bytes with its headers; the server takes {bytes_max}");
    let reason = Reason::REQUEST_TOO_LARGE;
    Error::failure(Code::ResourceExhausted, Delivery::NotSent, reason, message)
}

/// Makes the error for a subscription that the connection did not take.
pub(crate) fn subscribe(subject: &dyn Display, source: SubscribeError) -> Error {
    let message = format!("cannot subscribe to `{subject}`");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NOT_CONNECTED, message)
        .with_source(source)
}

/// Makes the error for a subject that the server does not let us use.
pub(crate) fn denied(what: &str, subject: &dyn Display, delivery: Delivery) -> Error {
    let message = format!("the server denies {what} `{subject}`");
    Error::failure(Code::PermissionDenied, delivery, None, message)
        .with_hint("the permissions of this user on the NATS server do not allow the subject")
}

/// Makes the error for subscriptions that the server refused without naming one.
pub(crate) fn refused(complaint: &str) -> Error {
    let message = format!("the NATS server refused the subscriptions: {complaint}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
}
