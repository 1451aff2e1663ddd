//! Configuration of a server's request handling.

use std::time::Duration;

use crate::defaults;
use crate::limits::Limits;
use crate::observe::Observers;

crate::options! {
    /// Limits and timeouts of a server's requests, the same for every transport.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let config = rr_spi::IntakeConfig::default()
    ///     .with_in_flight_max(64)
    ///     .with_timeout_max(Duration::from_secs(30));
    /// ```
    pub struct IntakeConfig {
        /// Maximum number of requests in flight; further requests are refused. The same limit holds
        /// for [`shielded`](crate::Context::shield) futures: while so many run, requests are refused.
        /// Default 1024; 0 refuses all.
        pub in_flight_max: usize = defaults::IN_FLIGHT_MAX, with_in_flight_max(usize);
        /// Timeout of a request that carries none. Default 30 s; 0 refuses such requests.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout_default: Duration = defaults::SERVER_TIMEOUT, with_timeout_default(Duration);
        /// Shortest timeout granted to a request that has time left. Default 0: no minimum.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout_min: Duration = Duration::ZERO, with_timeout_min(Duration);
        /// Longest timeout granted, regardless of the request. Default 5 min; 0 refuses all
        /// requests.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout_max: Duration = defaults::SERVER_TIMEOUT_MAX, with_timeout_max(Duration);
        /// Maximum number of body bytes that the server holds: of requests from their first byte
        /// until their handlers end, and of replies until their last byte is sent. A request that
        /// does not fit is refused before its handler runs; a reply that does not fit is dropped
        /// and replaced by an error. Default 64 MiB; 0 allows only empty bodies.
        pub bodies_bytes_max: usize = defaults::BODIES_BYTES_MAX, with_bodies_bytes_max(usize);
        /// Time between the announcement of a shutdown and its drain. Meanwhile the server serves
        /// as before, and over HTTP its health check answers 503, so that load balancers send new
        /// connections elsewhere. Over NATS and in memory nothing needs to be announced, and the
        /// server only serves for this time: a drain there loses no request. A second shutdown ends
        /// the lame duck. Default 0: a shutdown drains immediately. Give it a few seconds more than
        /// a load balancer takes to notice; the orchestrator must wait for the sum of this time
        /// and the grace of the drain.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub lame_duck: Duration = Duration::ZERO, with_lame_duck(Duration);
    }
    parts {
        /// Longest request and response bodies.
        pub limits: Limits, with_limits;
        /// Observers of the requests that arrive. Set in code only. Default none.
        #[serde(skip)]
        pub observers: Observers, with_observers;
    }
}

impl IntakeConfig {
    /// Clamps the timeout that a request asks for; zero stays zero.
    pub(super) fn grant(&self, asked: Option<Duration>) -> Duration {
        let asked = asked.unwrap_or(self.timeout_default);
        if asked.is_zero() { asked } else { asked.max(self.timeout_min).min(self.timeout_max) }
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
