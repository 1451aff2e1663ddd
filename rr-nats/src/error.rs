//! Errors of async-nats and of the NATS server, converted with their delivery.

mod server_error;

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{
    ConnectError, ConnectErrorKind, PublishError, ServerError, SubscribeError, rustls,
};
use rr_spi::{Code, Delivery, Error, ManyConfig, Reason, excerpt};

pub(crate) use server_error::{ServerErrorKind, Violation};

/// Likely cause of repeated connection losses while the server stays up: async-nats closes a
/// connection when it reads a message that it cannot parse, and does not report that cause.
pub(crate) const UNREADABLE: &str = "its server lives and gave no reason, so a proxy cut it, or a \
                                     peer sent a message that async-nats cannot parse";

/// Makes the error for a connection that could not be made: nothing was sent.
pub(crate) fn connect(address: &str, source: ConnectError) -> Error {
    let error = match source.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            refused_by(address, "authorization violation")
        }
        ConnectErrorKind::Tls => refused_by(address, "TLS required"),
        _ if is_tls(&source) => refused_by(address, "TLS required"),
        kind => match said_by_server(&source) {
            Some(said) => refused_by(address, &said),
            None => unreachable(address, &kind, StdError::source(&source)),
        },
    };
    error.with_source(source)
}

fn unreachable(
    address: &str,
    what: &dyn Display,
    cause: Option<&(dyn StdError + 'static)>,
) -> Error {
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    let message = format!("no connection to {address}: {what}{cause}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
}

/// Makes the error for a host name without an address: nothing was sent.
pub(crate) fn unresolved(address: &str, source: Option<io::Error>) -> Error {
    let error = unreachable(address, &"the look-up of its name failed", None);
    match source {
        Some(source) => error.with_source(source),
        None => error,
    }
}

/// Makes the error for a host name that was not looked up in time: nothing was sent.
pub(crate) fn resolves_slowly(address: &str, timeout: Duration) -> Error {
    let what =
        format!("the look-up of its name did not end within `connect_timeout` ({timeout:?})");
    unreachable(address, &what, None)
}

/// Makes the error for a configuration that leaves no time to connect: nothing was sent.
pub(crate) fn no_time(address: &str) -> Error {
    unreachable(address, &"there is no time to connect, as `connect_timeout` is zero", None)
        .with_hint("set `connect_timeout` to the time that a connection may take, such as 5s")
}

/// Makes the error for credentials that were not there in time: nothing was sent.
pub(crate) fn credentials_late() -> Error {
    let message = "the credentials were not there within `connect_timeout`";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message).with_hint(
        "let the auth callback answer sooner, check the file system of a credentials file, or \
                    raise `connect_timeout`",
    )
}

/// Makes the error for an auth callback that returned no credentials: nothing was sent. A code that
/// is a refusal is kept.
pub(crate) fn callback_failed(what: &dyn Display, source: Option<Error>) -> Error {
    let message = format!("the auth callback failed: {}", excerpt(&what.to_string(), 200));
    let error = match source.as_ref().filter(|error| is_refused(error.code())) {
        Some(refusal) => Error::failure(refusal.code(), Delivery::NotSent, None, message),
        None => {
            let reason = Reason::CONNECT_FAILED;
            Error::failure(Code::Unavailable, Delivery::NotSent, reason, message)
        }
    };
    let error = error.with_hint("the auth callback is called again for the next attempt");
    match source {
        Some(source) => error.with_source(source),
        None => error,
    }
}

/// Makes the error for a file of credentials that cannot be used: nothing was sent.
#[cfg(feature = "nkeys")]
pub(crate) fn credentials_file(path: &std::path::Path, what: impl Display) -> Error {
    let path = excerpt(&path.display().to_string(), 256);
    let message = format!("cannot use `{path}`: {what}");
    Error::failure(Code::FailedPrecondition, Delivery::NotSent, None, message)
        .with_hint("name a file that this process may read; it is read again for each connection")
}

/// Makes the error for a server that refused or ended a connection with a reason: nothing was sent.
pub(crate) fn refused_by(address: &str, said: &str) -> Error {
    let (code, hint) = match ServerErrorKind::parse(said) {
        ServerErrorKind::Credentials => (
            Code::Unauthenticated,
            "the NATS server refused the credentials: put them right there, or in the URL, as in \
             `nats://user:password@host`",
        ),
        ServerErrorKind::Headers => (
            Code::FailedPrecondition,
            "rr-nats needs headers: remove `no_header_support` from the NATS server's configuration",
        ),
        ServerErrorKind::Tls => (
            Code::FailedPrecondition,
            "the server requires TLS: use a URL of the scheme `nats+tls`, with the feature `tls`",
        ),
        ServerErrorKind::ControlLine => (
            Code::FailedPrecondition,
            "raise `max_control_line` of the NATS server, or shorten `name`, credentials, \
             `inbox_prefix` and prefix",
        ),
        ServerErrorKind::Connections => (
            Code::Unavailable,
            "the NATS server or account has as many connections as it takes: raise \
             `max_connections`, or use fewer clients",
        ),
        ServerErrorKind::Payload | ServerErrorKind::Other => {
            (Code::Unavailable, "the NATS server refused the connection")
        }
    };
    let message = format!("no connection to {address}: the server said \"{said}\"");
    let reason = (code == Code::Unavailable).then_some(Reason::CONNECT_FAILED);
    Error::failure(code, Delivery::NotSent, reason, message).with_hint(hint)
}

/// Returns whether an error is a refusal: waiting does not help, since a configuration must change.
pub(crate) fn is_refusal(error: &Error) -> bool {
    is_refused(error.code()) || is_handshake(error)
}

fn is_refused(code: Code) -> bool {
    use Code::{FailedPrecondition, PermissionDenied, Unauthenticated};
    matches!(code, Unauthenticated | PermissionDenied | FailedPrecondition)
}

/// Returns whether an error is about certificates or other parameters of TLS, which an operator has
/// to correct.
fn is_handshake(error: &Error) -> bool {
    let source = StdError::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Returns the server's error that ended an attempt to connect. async-nats exposes the error as the
/// source if it came after `CONNECT`, and only as text if it came instead of `INFO`.
fn said_by_server(error: &ConnectError) -> Option<String> {
    let source = error.source()?;
    match source.downcast_ref::<ServerError>() {
        Some(ServerError::Other(said)) => Some(said.clone()),
        Some(other) => Some(other.to_string()),
        None => {
            let text = source.to_string();
            let (_, said) = text.split_once("Error(Other(\"")?;
            Some(said.split_once('"')?.0.to_owned())
        }
    }
}

fn is_tls(error: &ConnectError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Makes the error for a connection that was not made and proved in time.
pub(crate) fn unproven(address: &str, timeout: Duration) -> Error {
    let what = format!("it did not answer within `connect_timeout` ({timeout:?})");
    unreachable(address, &what, None)
}

/// Makes the error for a call while there is no connection: nothing was sent.
pub(crate) fn not_connected() -> Error {
    let message = "there is no connection to a NATS server at the moment";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NOT_CONNECTED, message)
}

/// Makes the error for a call outside of a runtime: nothing was sent.
pub(crate) fn no_runtime() -> Error {
    let message = "a call over NATS needs a tokio runtime";
    Error::failure(Code::FailedPrecondition, Delivery::NotSent, None, message)
        .with_hint("await the call within a tokio runtime with IO and time enabled")
}

/// Makes the error for a call while there is no connection, after one was lost: nothing was sent.
pub(crate) fn not_connected_after(address: &str, why: Option<&str>) -> Error {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!("there is no connection: the one to {address} was lost{why}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NOT_CONNECTED, message)
}

/// Makes the error for a requester whose runtime has ended.
pub(crate) fn closed() -> Error {
    let message = "the runtime of this requester has ended";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CLOSED, message)
}

/// Makes the error for a call whose connection was lost; `delivery` is the state that the call has
/// recorded.
pub(crate) fn lost(delivery: Delivery, why: Option<&str>) -> Error {
    if delivery == Delivery::NotSent {
        return not_connected();
    }
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!("the connection was lost before the reply came{why}");
    Error::failure(Code::Unavailable, delivery, Reason::CONNECTION_LOST, message)
}

/// Makes the error for a request whose replies were not read in time: some were dropped.
pub(crate) fn too_many_held(config: &ManyConfig) -> Error {
    let ManyConfig { held_max, held_bytes_max, .. } = config;
    let message = format!(
        "more replies came than may be held unread: `held_max` is {held_max}, and `held_bytes_max` \
         is {held_bytes_max}"
    );
    Error::failure(Code::ResourceExhausted, Delivery::Unknown, Reason::RESPONSE_TOO_LARGE, message)
        .with_hint("read the replies faster, or raise the limit of the `ManyConfig`")
}

/// Makes the error for a message that async-nats did not accept: it was not sent.
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

/// Limit that a message exceeds: the longest that the server accepts, in bytes with headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) bytes_max: usize,
    /// Whether the server accepts less from this user or account than it announces.
    pub(crate) is_learned: bool,
}

/// Makes the error for a request that is longer than the server accepts: it was not sent.
pub(crate) fn longer_than(limit: TooLong, bytes: usize) -> Error {
    let TooLong { bytes_max, is_learned } = limit;
    let (code, reason) = (Code::ResourceExhausted, Reason::REQUEST_TOO_LARGE);
    let error = |message| Error::failure(code, Delivery::NotSent, reason, message);
    let has = format!("the request has {bytes} bytes with its headers");
    if !is_learned {
        let message = format!("{has}; the `max_payload` of the NATS server is {bytes_max}");
        return error(message).with_hint(ANNOUNCED);
    }
    let violation = "it has said \"Maximum Payload Violation\"";
    error(format!("{has}; the server takes {bytes_max} at most from this user: {violation}"))
        .with_hint(LEARNED)
}

/// Hint for messages that are longer than the server announces.
const ANNOUNCED: &str = "raise `max_payload` in the configuration of the NATS server, or send less";

/// Hint for messages that are longer than the server accepts from this user.
const LEARNED: &str = "the limit of the user or account on the NATS server is lower than the \
                       server's own: raise its `max_payload`, or send less";

/// Makes the error for a subscription that async-nats did not accept.
pub(crate) fn subscribe(subject: &dyn Display, source: SubscribeError) -> Error {
    let message = format!("cannot subscribe to `{subject}`");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NOT_CONNECTED, message)
        .with_source(source)
}

/// Makes the error for a subject that the server denies.
pub(crate) fn denied(what: &str, subject: &dyn Display, delivery: Delivery) -> Error {
    let message = format!("the server denies {what} `{subject}`");
    Error::failure(Code::PermissionDenied, delivery, None, message)
        .with_hint("the permissions of this user on the NATS server do not allow the subject")
}

/// Makes the error for subscriptions that the server refused without naming a subject.
pub(crate) fn refused(said: &str) -> Error {
    let message = format!("the NATS server refused the subscriptions: {said}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
}
