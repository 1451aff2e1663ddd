//! Reason tokens: an open set that distinguishes errors of the same code.

use std::borrow::Cow;
use std::fmt;

use crate::timeline::Stage;

/// Reason token of an error in lower kebab case, such as `no-responder`.
///
/// The constants are the reasons that rr itself gives. The set is open: services may use their own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reason(Cow<'static, str>);

/// Longest reason token in bytes; a token is a name, not a message.
const REASON_BYTES_MAX: usize = 64;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Reason {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*

            pub(super) const KNOWN: &'static [&'static str] = &[$($text),*];
        }
    };
}

reasons! {
    /// Unavailable: no responder serves the target.
    NO_RESPONDER = "no-responder";
    /// Unavailable: there is no connection at the moment.
    NOT_CONNECTED = "not-connected";
    /// Unavailable: a connection could not be established.
    CONNECT_FAILED = "connect-failed";
    /// Unavailable: the connection broke after the request left.
    CONNECTION_LOST = "connection-lost";
    /// Unavailable: the server is shutting down.
    DRAINING = "draining";
    /// Unavailable: a circuit breaker is open.
    BREAKER_OPEN = "breaker-open";
    /// Unavailable: this requester was closed.
    CLOSED = "closed";
    /// ResourceExhausted: the limit of requests in flight or of held body bytes is reached.
    OVERLOADED = "overloaded";
    /// ResourceExhausted: a rate limit was hit.
    RATE_LIMITED = "rate-limited";
    /// ResourceExhausted: the client holds back because the destination is failing.
    THROTTLED = "throttled";
    /// ResourceExhausted: the request is larger than allowed.
    REQUEST_TOO_LARGE = "request-too-large";
    /// ResourceExhausted: the response is larger than allowed.
    RESPONSE_TOO_LARGE = "response-too-large";
    /// DeadlineExceeded: the deadline had passed before the handler could start.
    EXPIRED_ON_ARRIVAL = "expired-on-arrival";
    /// DeadlineExceeded: the call waited for its place among the calls in flight.
    EXPIRED_WAITING = "expired-waiting";
    /// DeadlineExceeded: the call waited for a connection, or for the making of one.
    EXPIRED_CONNECTING = "expired-connecting";
    /// DeadlineExceeded: the request waited to be sent.
    EXPIRED_SENDING = "expired-sending";
    /// DeadlineExceeded: the request was sent, and no byte of the reply arrived.
    EXPIRED_AWAITING_REPLY = "expired-awaiting-reply";
    /// DeadlineExceeded: the reply had begun to arrive.
    EXPIRED_READING = "expired-reading";
    /// InvalidArgument at the server, Internal at the client: the body could not be decoded.
    DECODE = "decode";
    /// InvalidArgument: an idempotency key was used again with another body.
    IDEMPOTENCY_KEY_REUSE = "idempotency-key-reuse";
    /// Internal: the handler panicked.
    PANIC = "panic";
    /// Internal: the reply could not be understood.
    BAD_RESPONSE = "bad-response";
    /// Unimplemented: no such service or method.
    NO_SUCH_TARGET = "no-such-target";
    /// Unimplemented: the content type or encoding is not supported.
    CODEC = "codec";
    /// Aborted: the same keyed request is being handled at this moment.
    DUPLICATE_IN_FLIGHT = "duplicate-in-flight";
    /// Aborted: the same keyed request ran before, and its reply is no longer known.
    OUTCOME_LOST = "outcome-lost";
    /// An application error, which travels as a detail.
    APP = "app";
}

impl Reason {
    /// Makes a reason from a token of lower-case letters, digits and hyphens, at most 64 bytes.
    ///
    /// Returns `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(&known) = Self::KNOWN.iter().find(|&&known| known == text) {
            return Some(Self(Cow::Borrowed(known)));
        }
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = !text.is_empty() && text.len() <= REASON_BYTES_MAX;
        (fits && text.bytes().all(valid)).then(|| Self(Cow::Owned(text.to_owned())))
    }

    /// Returns the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the reason of an attempt that expired in a stage.
    pub(crate) const fn expired_in(stage: Stage) -> Self {
        match stage {
            Stage::Place => Self::EXPIRED_WAITING,
            Stage::Connection | Stage::Lookup | Stage::Connect | Stage::Handshake => {
                Self::EXPIRED_CONNECTING
            }
            Stage::Sending => Self::EXPIRED_SENDING,
            Stage::AwaitingReply => Self::EXPIRED_AWAITING_REPLY,
            Stage::ReadingReply => Self::EXPIRED_READING,
        }
    }

    /// Returns the token if it is one of those that rr gives, and `None` for those of services.
    ///
    /// For names of metrics, which must not be an open set.
    #[must_use]
    pub fn known(&self) -> Option<&'static str> {
        match self.0 {
            Cow::Borrowed(known) => Some(known),
            Cow::Owned(_) => None,
        }
    }

    /// Returns whether retrying the same call is useless by definition (docs/src/retry-table.md).
    pub(crate) fn forbids_retry(&self) -> bool {
        [
            Self::REQUEST_TOO_LARGE,
            Self::RESPONSE_TOO_LARGE,
            Self::THROTTLED,
            Self::CLOSED,
            Self::OUTCOME_LOST,
            Self::APP,
        ]
        .contains(self)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reason({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_parse_and_everything_else_does_not() {
        assert_eq!(Reason::parse("no-responder"), Some(Reason::NO_RESPONDER));
        assert_eq!(Reason::parse("own-reason-7").unwrap().as_str(), "own-reason-7");
        for bad in ["", "Upper", "under_score", "a b", &"x".repeat(65)] {
            assert_eq!(Reason::parse(bad), None, "{bad}");
        }
    }
}
