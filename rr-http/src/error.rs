//! Errors of connections and streams, each with its delivery.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rr_spi::{Code, Delivery, Error, Origin, Reason, RetryHint};

use crate::config::HttpRefusals;

/// Raw status and body of an error reply: the source of the error made from it.
///
/// # Examples
///
/// ```
/// use std::error::Error as _;
///
/// fn status(error: &rr_spi::Error) -> Option<u16> {
///     let raw = error.source()?.downcast_ref::<rr_http::RawReply>()?;
///     Some(raw.status)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawReply {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most its first 64 KiB.
    pub body: Bytes,
}

impl RawReply {
    pub(crate) fn new(status: StatusCode, body: Bytes) -> Self {
        Self { status: status.as_u16(), body }
    }
}

impl fmt::Display for RawReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {} with {} bytes", self.status, self.body.len())
    }
}

impl std::error::Error for RawReply {}

/// Makes the error for a connection that could not be made: nothing was sent.
pub(crate) fn connect_failed(authority: &str, source: std::io::Error) -> Error {
    let message = format!("no connection to {authority}: {source}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_source(source)
}

/// Makes the error for a connection that was not made in time: nothing was sent.
pub(crate) fn connect_timed_out(authority: &str, after: Duration) -> Error {
    let message = format!("no connection to {authority} within {after:?}");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
}

/// Makes the error for a connection that ended before a call could use it: nothing was sent on it.
pub(crate) fn closed_early(authority: &str) -> Error {
    let message = format!("{authority} closed the connection at once");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_hint("check that the server speaks HTTP/2 on this port, or leave out `version`")
}

/// Makes the error for a call whose request was not written on a connection that the server refused.
pub(crate) fn not_sent(refusal: &Error) -> Error {
    let (code, message) = (refusal.code(), refusal.message().to_owned());
    Error::failure(code, Delivery::NotSent, refusal.reason().cloned(), message)
        .with_origin(refusal.origin())
        .with_retry(refusal.retry())
        .with_hint(refusal.hint().to_owned())
}

/// Makes the error for a forward proxy that opened no tunnel to the server: nothing was sent.
pub(crate) fn proxy_refused(authority: &str, proxy: &str, status: StatusCode) -> Error {
    let status = status.as_u16();
    let message = format!("no connection to {authority}: the proxy {proxy} answered {status}");
    let hint = match status {
        // Tinyproxy answers 401 to wrong credentials.
        401 | 407 => {
            "give the credentials of the proxy in its URL: proxy=http://user:password@host:port"
        }
        403 | 405 => {
            "the proxy does not allow CONNECT to this host and port; many allow port 443 only"
        }
        // Tinyproxy answers 500 in place of 502.
        500 | 502..=504 => {
            "the proxy does not reach the server: check its name and port from there"
        }
        _ => "check that the URL of the option `proxy` is that of a proxy that allows CONNECT",
    };
    let retry = match status {
        // The configuration is wrong, at one end or the other.
        401 | 403 | 405 | 407 => RetryHint::Never,
        _ => RetryHint::Unset,
    };
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_origin(Origin::Intermediary)
        .with_retry(retry)
        .with_hint(hint)
}

/// Makes the error for a request that every connection handed back unwritten.
pub(crate) fn handed_back() -> Error {
    let message = "connections closed before the request was written";
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NOT_CONNECTED, message)
}

/// Makes the error for a connection that broke after bytes may have left.
pub(crate) fn lost(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = "the connection broke before the reply was complete";
    Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, message)
        .with_source(source)
}

/// Makes the error for a reply that cannot be understood.
pub(crate) fn bad_response(delivery: Delivery, message: &'static str) -> Error {
    Error::failure(Code::Internal, delivery, Reason::BAD_RESPONSE, message)
}

/// Makes the error for a hyper error after the request was written, in whole or in part.
pub(crate) fn of_hyper(error: hyper::Error) -> Error {
    if error.is_parse() {
        return bad_response(Delivery::Unknown, "the reply is no HTTP").with_source(error);
    }
    lost(error)
}

/// Returns whether a GOAWAY proves that the server did not process the stream: the stream is above
/// the last stream identifier of the GOAWAY (RFC 9113 §6.8).
pub(crate) fn is_spared(error: &h2::Error) -> bool {
    error.is_remote() && error.is_go_away()
}

/// Makes the error for a stream that failed once its request was handed over.
///
/// A frame proves something only about the hop that sent it. `REFUSED_STREAM` is therefore
/// `Unknown` unless the configuration declares that there is no proxy.
pub(crate) fn of_h2(error: h2::Error, believed: HttpRefusals) -> Error {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let refused = refused && error.is_remote();
    if refused || is_spared(&error) {
        let is_proof = match believed {
            HttpRefusals::None => false,
            HttpRefusals::GoAway => is_spared(&error),
            HttpRefusals::All => true,
        };
        let delivery = if is_proof { Delivery::Rejected } else { Delivery::Unknown };
        let message = "the server refused the stream";
        return Error::failure(Code::Unavailable, delivery, None, message)
            .with_origin(Origin::Peer)
            .with_source(error);
    }
    if error.is_go_away() || (error.is_reset() && !error.is_remote()) {
        return bad_response(Delivery::Unknown, "the reply is no HTTP/2").with_source(error);
    }
    lost(error)
}
