//! Events that are not the start or the end of an operation.

use std::net::SocketAddr;
use std::time::Duration;

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
    /// A balance has ejected an endpoint: it gets no calls for a while.
    #[non_exhaustive]
    EndpointEjected {
        /// The name of the endpoint.
        endpoint: &'a str,
        /// The duration of the ejection, until the endpoint is probed.
        lasts: Duration,
        /// The reason for the ejection.
        cause: EjectionCause,
    },
    /// An endpoint that was ejected has answered a call and gets calls again.
    #[non_exhaustive]
    EndpointReturned {
        /// The name of the endpoint.
        endpoint: &'a str,
    },
    /// An endpoint was removed while it was ejected, or its balance was dropped.
    #[non_exhaustive]
    EjectedEndpointRemoved {
        /// The name of the endpoint.
        endpoint: &'a str,
    },
    /// A second request was sent for a call that takes unusually long.
    #[non_exhaustive]
    Hedged {
        /// The context of the call.
        context: &'a Context,
        /// The target of the call.
        target: &'a Target,
        /// The time after which the second request left.
        after: Duration,
    },
    /// The outcome of a second request became that of its call.
    #[non_exhaustive]
    HedgeWon {
        /// The context of the call.
        context: &'a Context,
        /// The target of the call.
        target: &'a Target,
    },
    /// A second request was not sent because a budget is spent.
    #[non_exhaustive]
    HedgeRefused {
        /// The context of the call.
        context: &'a Context,
        /// The target of the call.
        target: &'a Target,
    },
    /// A call was held back because its destination refuses or fails most calls.
    #[non_exhaustive]
    Throttled {
        /// The context of the call.
        context: &'a Context,
        /// The target of the call.
        target: &'a Target,
    },
    /// A limit of calls in flight or of calls per second has refused a call.
    #[non_exhaustive]
    LimitRefused {
        /// The context of the call.
        context: &'a Context,
        /// The target of the call.
        target: &'a Target,
        /// The error of the call, with the reason and the delivery.
        error: &'a Error,
        /// The limit at this moment: calls in flight, or calls per second.
        limit: u64,
    },
    /// A limit of calls in flight after a call has ended. Reported at most once per second.
    #[non_exhaustive]
    LimitReported {
        /// The target of the call.
        target: &'a Target,
        /// The number of calls that may be in flight.
        limit: u64,
    },
}

/// Reason for the ejection of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EjectionCause {
    /// Too many calls in a row have failed.
    FailuresInRow,
    /// Too many of the recent calls have failed.
    SuccessRate,
    /// The call that probed the endpoint after an ejection has failed.
    ProbeFailed,
}

impl EjectionCause {
    /// Returns the cause in lower kebab case, such as `failures-in-row`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailuresInRow => "failures-in-row",
            Self::SuccessRate => "success-rate",
            Self::ProbeFailed => "probe-failed",
        }
    }
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

    /// Makes a [`Event::EndpointEjected`].
    #[must_use]
    pub const fn endpoint_ejected(
        endpoint: &'a str,
        lasts: Duration,
        cause: EjectionCause,
    ) -> Self {
        Self::EndpointEjected { endpoint, lasts, cause }
    }

    /// Makes a [`Event::EndpointReturned`].
    #[must_use]
    pub const fn endpoint_returned(endpoint: &'a str) -> Self {
        Self::EndpointReturned { endpoint }
    }

    /// Makes a [`Event::EjectedEndpointRemoved`].
    #[must_use]
    pub const fn ejected_endpoint_removed(endpoint: &'a str) -> Self {
        Self::EjectedEndpointRemoved { endpoint }
    }

    /// Makes a [`Event::Hedged`].
    #[must_use]
    pub const fn hedged(context: &'a Context, target: &'a Target, after: Duration) -> Self {
        Self::Hedged { context, target, after }
    }

    /// Makes a [`Event::HedgeWon`].
    #[must_use]
    pub const fn hedge_won(context: &'a Context, target: &'a Target) -> Self {
        Self::HedgeWon { context, target }
    }

    /// Makes a [`Event::HedgeRefused`].
    #[must_use]
    pub const fn hedge_refused(context: &'a Context, target: &'a Target) -> Self {
        Self::HedgeRefused { context, target }
    }

    /// Makes a [`Event::Throttled`].
    #[must_use]
    pub const fn throttled(context: &'a Context, target: &'a Target) -> Self {
        Self::Throttled { context, target }
    }

    /// Makes a [`Event::LimitRefused`].
    #[must_use]
    pub const fn limit_refused(
        context: &'a Context,
        target: &'a Target,
        error: &'a Error,
        limit: u64,
    ) -> Self {
        Self::LimitRefused { context, target, error, limit }
    }

    /// Makes a [`Event::LimitReported`].
    #[must_use]
    pub const fn limit_reported(target: &'a Target, limit: u64) -> Self {
        Self::LimitReported { target, limit }
    }
}
