//! Events that are not the start or the end of an operation.

use std::net::SocketAddr;

use crate::context::Context;
use crate::error::{AttemptRecord, Error};
use crate::in_flight::DrainReport;
use crate::target::Target;

/// Event that is not the start or the end of an operation.
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
    /// A failed attempt is not followed by another because the retry budget is spent.
    #[non_exhaustive]
    RetryRefused {
        /// The context of the call.
        context: &'a Context,
        /// The target of the call.
        target: &'a Target,
        /// The attempt that failed.
        failed: &'a AttemptRecord,
    },
    /// A call has read its retry budget, which it may share with other calls. Reported after each
    /// [`Event::Retry`] and each [`Event::RetryRefused`], and for the first call in each tenth of the
    /// budget's window.
    #[non_exhaustive]
    RetryBudget {
        /// The target of the call.
        target: &'a Target,
        /// The number of retries left.
        left: u64,
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
    /// A recorder of calls has lost its first call for this reason. It reports each reason once.
    #[non_exhaustive]
    RecordingIncomplete {
        /// The reason, without secrets.
        reason: &'a str,
    },
}

/// Constructors, for transports, layers and tests of observers.
impl<'a> Event<'a> {
    /// Makes a [`Event::Retry`].
    #[must_use]
    pub const fn retry(
        context: &'a Context,
        target: &'a Target,
        failed: &'a AttemptRecord,
    ) -> Self {
        Self::Retry { context, target, failed }
    }

    /// Makes a [`Event::RetryRefused`].
    #[must_use]
    pub const fn retry_refused(
        context: &'a Context,
        target: &'a Target,
        failed: &'a AttemptRecord,
    ) -> Self {
        Self::RetryRefused { context, target, failed }
    }

    /// Makes a [`Event::RetryBudget`].
    #[must_use]
    pub const fn retry_budget(target: &'a Target, left: u64) -> Self {
        Self::RetryBudget { target, left }
    }

    /// Makes a [`Event::DrainStarted`].
    #[must_use]
    pub const fn drain_started(in_flight: usize) -> Self {
        Self::DrainStarted { in_flight }
    }

    /// Makes a [`Event::DrainEnded`].
    #[must_use]
    pub const fn drain_ended(report: DrainReport) -> Self {
        Self::DrainEnded { report }
    }

    /// Makes a [`Event::Disconnected`]. The peer must be named without secrets.
    #[must_use]
    pub const fn disconnected(peer: &'a str, error: Option<&'a Error>) -> Self {
        Self::Disconnected { peer, error }
    }

    /// Makes a [`Event::Reconnected`]. The peer must be named without secrets.
    #[must_use]
    pub const fn reconnected(peer: &'a str) -> Self {
        Self::Reconnected { peer }
    }

    /// Makes a [`Event::HandshakeRefused`]. The reason must be without secrets.
    #[must_use]
    pub const fn handshake_refused(peer: Option<SocketAddr>, reason: &'a str) -> Self {
        Self::HandshakeRefused { peer, reason }
    }

    /// Makes a [`Event::RecordingIncomplete`]. The reason must be without secrets.
    #[must_use]
    pub const fn recording_incomplete(reason: &'a str) -> Self {
        Self::RecordingIncomplete { reason }
    }
}
