//! Rules of the transports: which faults they have, and what the caller learns from them.

use rr_spi::{Code, Delivery, Error, Idempotency, Reason, Request};

use super::fault::Fault;

/// Transport by whose rules faults strike the calls of a service; see
/// [`Network::set_profile`](super::Network::set_profile).
///
/// # Examples
///
/// ```
/// use rr_testkit::worlds::{Fault, Profile};
///
/// assert!(Profile::Nats.has(Fault::Duplicated));
/// assert!(!Profile::Http1.has(Fault::Duplicated));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// No transport in particular: every fault, and a handler is dropped in the instant in which its
    /// caller leaves, as over `memory://`.
    #[default]
    Memory,
    /// HTTP/1.1: each call has its own connection.
    Http1,
    /// HTTP/2: the calls of a client share a connection.
    Http2,
    /// NATS: caller and instance are connected to a NATS server, and not to each other.
    Nats,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Http1, Self::Http2, Self::Nats];

    /// Returns whether a fault can happen over the transport, and differs from its other faults.
    ///
    /// If not, the fault is not tried, and does not strike where a script states it.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        match self {
            Self::Memory => true,
            // A reset strikes the connection of one call: it is `BrokenWithin`.
            Self::Http1 => !matches!(fault, Fault::Duplicated | Fault::Repeated | Fault::Reset),
            Self::Http2 => !matches!(fault, Fault::Duplicated | Fault::Repeated),
            // A server that drains unsubscribes, and answers what it got before. A lost connection is
            // that of all calls of the client: it is `Reset`.
            Self::Nats => !matches!(fault, Fault::Draining | Fault::BrokenWithin),
        }
    }

    pub(super) const fn is_http(self) -> bool {
        matches!(self, Self::Http1 | Self::Http2)
    }

    /// Returns whether the caller learns that the instance has gone.
    pub(super) const fn tells_of_crashes(self) -> bool {
        !matches!(self, Self::Nats)
    }

    /// Makes the error of a call that reaches no instance.
    pub(super) fn no_instance(self, text: String) -> Error {
        let reason = if self.is_http() { Reason::CONNECT_FAILED } else { Reason::NO_RESPONDER };
        Error::failure(Code::Unavailable, Delivery::NotSent, reason, text)
    }

    /// Returns what the refusal of a request proves: a proxy may have repeated a keyed request
    /// without a body, so that another server has run it.
    pub(super) fn refused(self, request: &Request) -> Delivery {
        let is_keyed = matches!(request.idempotency, Idempotency::Keyed(_));
        let may_be_repeated = self.is_http() && is_keyed && request.body.is_empty();
        if may_be_repeated { Delivery::Unknown } else { Delivery::Rejected }
    }
}
