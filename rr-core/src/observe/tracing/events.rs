//! Events that are not operations.

use rr_spi::observe::Event;
use rr_spi::{Error, Origin, Reason, RetryDecision, excerpt};
use tracing::{debug, info, warn};

use super::failures::ERROR_CHARS_MAX;
use crate::observe::shown::{millis, request_id};

/// Logs a failed attempt, and whether another follows.
macro_rules! decided {
    ($log:ident, $name:literal, $context:expr, $target:expr, $failed:expr) => {
        $log!(
            target: "rr::event",
            {
                rpc.service = Some($target.service()).filter(|service| !service.is_empty()),
                rpc.method = $target.method(),
                request_id = request_id($context),
                rr.code = $failed.code.as_str(),
                rr.reason = $failed.reason.as_ref().map(Reason::as_str),
                rr.delivery = $failed.delivery.as_str(),
                elapsed_ms = millis($failed.elapsed),
                decision = $failed.decision.as_ref().map(RetryDecision::to_string),
            },
            $name
        )
    };
}

/// Logs an event.
pub(super) fn log(event: &Event<'_>) {
    match event {
        Event::Retry { context, target, failed, .. } => {
            decided!(info, "retry", context, target, failed);
        }
        Event::RetryRefused { context, target, failed, .. } => {
            decided!(warn, "retry refused", context, target, failed);
        }
        Event::LateReply => debug!(target: "rr::event", "late reply"),
        Event::DrainStarted { in_flight, .. } => {
            info!(target: "rr::event", in_flight, "drain started");
        }
        Event::DrainEnded { report, .. } => info!(
            target: "rr::event",
            {
                completed = report.completed,
                aborted = report.aborted,
                refused = report.refused,
            },
            "drain ended"
        ),
        Event::Disconnected { peer, error, .. } => warn!(
            target: "rr::event",
            {
                peer = excerpt(peer, ERROR_CHARS_MAX),
                rr.code = error.map(|error| error.code().as_str()),
                rr.reason = error.and_then(Error::reason).map(Reason::as_str),
                error = error.and_then(message),
            },
            "disconnected"
        ),
        Event::Reconnected { peer, .. } => {
            info!(target: "rr::event", peer = excerpt(peer, ERROR_CHARS_MAX), "reconnected");
        }
        Event::HandshakeRefused { peer, reason, .. } => info!(
            target: "rr::event",
            {
                peer = peer.map(|peer| peer.to_string()),
                error = excerpt(reason, ERROR_CHARS_MAX),
            },
            "handshake refused"
        ),
        Event::RecordingIncomplete { reason, .. } => warn!(
            target: "rr::event",
            error = excerpt(reason, ERROR_CHARS_MAX),
            "recording incomplete"
        ),
        Event::EndpointEjected { endpoint, lasts, cause, .. } => warn!(
            target: "rr::event",
            {
                endpoint = excerpt(endpoint, ERROR_CHARS_MAX),
                ejected_ms = millis(*lasts),
                cause = cause.as_str(),
            },
            "endpoint ejected"
        ),
        Event::EndpointReturned { endpoint, .. } => {
            let endpoint = excerpt(endpoint, ERROR_CHARS_MAX);
            info!(target: "rr::event", endpoint, "endpoint returned");
        }
        Event::EjectedEndpointRemoved { endpoint, .. } => {
            let endpoint = excerpt(endpoint, ERROR_CHARS_MAX);
            info!(target: "rr::event", endpoint, "ejected endpoint removed");
        }
        _ => log_of_layer(event),
    }
}

/// Logs an event of a call in a layer. If the call fails, its failure is logged at a higher level.
macro_rules! in_layer {
    ($name:literal, $context:expr, $target:expr $(, $($field:ident).+ = $value:expr)*) => {
        debug!(
            target: "rr::event",
            {
                rpc.service = Some($target.service()).filter(|service| !service.is_empty()),
                rpc.method = $target.method(),
                request_id = request_id($context),
                $($($field).+ = $value,)*
            },
            $name
        )
    };
}

/// Logs an event of a layer around a requester or a handler.
fn log_of_layer(event: &Event<'_>) {
    match event {
        Event::Hedged { context, target, after, .. } => {
            in_layer!("second request sent", context, target, after_ms = millis(*after));
        }
        Event::HedgeWon { context, target, .. } => {
            in_layer!("second request won", context, target);
        }
        Event::HedgeRefused { context, target, .. } => {
            in_layer!("second request refused", context, target);
        }
        Event::Throttled { context, target, .. } => in_layer!("throttled", context, target),
        Event::LimitRefused { context, target, error, limit, .. } => {
            let reason = error.reason().map(Reason::as_str);
            in_layer!("limit refused", context, target, rr.reason = reason, limit = *limit);
        }
        _ => {}
    }
}

/// Returns the message of an error that this process made.
fn message(error: &Error) -> Option<String> {
    (error.origin() == Origin::Local).then(|| excerpt(error.message(), ERROR_CHARS_MAX))
}
