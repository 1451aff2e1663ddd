//! Events that are no operation.

use std::net::SocketAddr;

use crate::context::Context;
use crate::error::{AttemptRecord, Error};
use crate::in_flight::DrainReport;
use crate::target::Target;

/// Event that is no operation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A failed attempt is followed by another; the record has the decision and the pause.
    #[non_exhaustive]
    Retry {
        /// The context of the call.
        context: &'a Context,
        /// The target of the call.
        target: &'a Target,
        /// The attempt that failed.
        failed: &'a AttemptRecord,
    },
    /// A reply arrived after its call had ended, and was discarded.
    LateReply,
    /// A server began to drain.
    #[non_exhaustive]
    DrainStarted {
        /// The number of requests in flight.
        in_flight: usize,
    },
    /// A server has drained.
    #[non_exhaustive]
    DrainEnded {
        /// The counts of the drain.
        report: DrainReport,
    },
    /// A connection that lasts, such as one to a NATS server, was lost.
    #[non_exhaustive]
    Disconnected {
        /// The URL or address of the peer, without secrets.
        peer: &'a str,
        /// The reason for the loss, if it is known.
        error: Option<&'a Error>,
    },
    /// A connection that was lost is back.
    #[non_exhaustive]
    Reconnected {
        /// The URL or address of the peer, without secrets.
        peer: &'a str,
    },
    /// A server refused a connection during its handshake.
    #[non_exhaustive]
    HandshakeRefused {
        /// The address of the peer, if it is known.
        peer: Option<SocketAddr>,
        /// The reason, without secrets.
        reason: &'a str,
    },
}

impl<'a> Event<'a> {
    /// Makes the event of a lost connection. `peer` is a URL or an address without secrets.
    #[must_use]
    pub fn disconnected(peer: &'a str, error: Option<&'a Error>) -> Self {
        Self::Disconnected { peer, error }
    }

    /// Makes the event of a connection that is back. `peer` is a URL or an address without secrets.
    #[must_use]
    pub fn reconnected(peer: &'a str) -> Self {
        Self::Reconnected { peer }
    }
}
