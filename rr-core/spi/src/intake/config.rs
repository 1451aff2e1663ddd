//! What a server grants, and what the head of a request asks for.

use std::time::Duration;

use tokio::time::Instant;

use crate::context::Context;
use crate::defaults;
use crate::limits::Limits;

crate::options! {
    /// What a server grants to the requests that arrive, whatever its transport.
    pub struct IntakeConfig {
        /// Most requests in flight; the next one is refused. Default 1024; 0 refuses every request.
        pub in_flight_max: usize = defaults::IN_FLIGHT_MAX, with_in_flight_max(usize);
        /// Time for a request that carries no timeout. Default 30 s; 0 refuses such requests.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout_default: Duration = defaults::SERVER_TIMEOUT, with_timeout_default(Duration);
        /// Shortest time granted to a request that has any left. Default 0: as it asks.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout_min: Duration = Duration::ZERO, with_timeout_min(Duration);
        /// Longest time granted, whatever the request asks for. Default 5 min; 0 refuses every one.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout_max: Duration = defaults::SERVER_TIMEOUT_MAX, with_timeout_max(Duration);
        /// Most bytes of bodies that the server holds: of requests, from their first byte until their
        /// handlers end, and of replies until their last byte has left. A request that does not fit
        /// is refused before its handler runs; a reply that does not is dropped, and an error leaves
        /// in its place. Default 64 MiB; 0 allows only empty bodies.
        pub bodies_bytes_max: usize = defaults::BODIES_BYTES_MAX, with_bodies_bytes_max(usize);
    }
    parts {
        /// Longest bodies.
        pub limits: Limits, with_limits;
    }
}

impl IntakeConfig {
    /// Clamps what a request asks for; no time left stays no time left.
    pub(super) fn grant(&self, asked: Option<Duration>) -> Duration {
        let asked = asked.unwrap_or(self.timeout_default);
        if asked.is_zero() { asked } else { asked.max(self.timeout_min).min(self.timeout_max) }
    }
}

/// What the head of a request says, as far as it becomes its [`Context`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Inbound<'a> {
    /// The time that the caller grants; `None` when it did not say, zero when none is left.
    pub timeout: Option<Duration>,
    /// How many attempts of the call preceded this one.
    pub retries: u32,
    /// The request id.
    pub request_id: Option<&'a str>,
    /// W3C `traceparent`.
    pub traceparent: Option<&'a str>,
    /// W3C `tracestate`.
    pub tracestate: Option<&'a str>,
    /// W3C `baggage`.
    pub baggage: Option<&'a str>,
    /// When it arrived, where that has just been looked up.
    pub(crate) arrived: Option<Instant>,
}

impl<'a> Inbound<'a> {
    /// Makes the head of a request that grants `timeout` and says nothing else.
    #[must_use]
    pub fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, ..Self::default() }
    }

    /// Makes the head that a caller's context amounts to, arriving at `now` with what is left then.
    pub(crate) fn of(ctx: &'a Context, now: Instant) -> Self {
        let millis = ctx.deadline().and_then(|deadline| deadline.wire_millis_at(now));
        Self {
            timeout: millis.map(Duration::from_millis),
            retries: ctx.retries(),
            request_id: ctx.request_id(),
            traceparent: ctx.traceparent(),
            tracestate: ctx.tracestate(),
            baggage: ctx.baggage(),
            arrived: Some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_read_from_text_and_unknown_fields_refused() {
        let text =
            r#"{"in_flight_max": 7, "timeout_max": "1500ms", "limits": {"request_bytes_max": 9}}"#;
        let config: IntakeConfig = serde_json::from_str(text).unwrap();
        let expected = IntakeConfig::default()
            .with_in_flight_max(7)
            .with_timeout_max(Duration::from_millis(1500))
            .with_limits(Limits::default().with_request_bytes_max(9));
        assert_eq!(config, expected);
        assert!(serde_json::from_str::<IntakeConfig>(r#"{"in_flight": 7}"#).is_err());
        assert!(serde_json::from_str::<IntakeConfig>(r#"{"timeout_max": 7}"#).is_err());
    }
}
