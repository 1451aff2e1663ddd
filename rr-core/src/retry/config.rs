//! Configuration of a retry layer.

use std::time::Duration;

use super::budget::RetryBudgetConfig;

/// Ceiling of the attempts of one call in any configuration (gRFC A6 has the same ceiling).
const ATTEMPTS_CEILING: u32 = 5;

rr_spi::options! {
    /// Attempts, pauses and budget of a retry layer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rr_core::retry::RetryConfig;
    ///
    /// let config = RetryConfig::default()
    ///     .with_attempts_max(4)
    ///     .with_attempt_timeout(Duration::from_millis(300));
    /// assert_eq!(config.backoff_base, Duration::from_millis(50));
    /// ```
    pub struct RetryConfig {
        /// Maximum number of attempts of one call, the first included. Default 3; 0 counts as 1,
        /// more than 5 as 5. The immediate resend of an attempt that provably did not run is not
        /// counted.
        pub attempts_max: u32 = 3, with_attempts_max(u32);
        /// Timeout of one attempt of a call that may run twice; attempts of other calls have none.
        /// Default 0: an attempt has all the time left of the call. A keyed run that takes longer
        /// is cut off and not started again: set a timeout longer than the handler ever takes. A
        /// layer inside of retry that waits must race the context that it is given.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub attempt_timeout: Duration = Duration::ZERO, with_attempt_timeout(Duration);
        /// Longest first pause; the bound doubles with each further pause. Default 50 ms; 0 never
        /// pauses.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub backoff_base: Duration = Duration::from_millis(50), with_backoff_base(Duration);
        /// Longest first pause after `ResourceExhausted`. Default 1 s; 0 never pauses.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub backoff_base_throttled: Duration =
            Duration::from_secs(1), with_backoff_base_throttled(Duration);
        /// Longest pause, except for a pause that the peer asks for. Default 2 s; 0 never pauses.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub backoff_max: Duration = Duration::from_secs(2), with_backoff_max(Duration);
        /// Whether the destination is known to deduplicate keyed requests, which makes them
        /// idempotent. Default false: the layer learns it for each target from replies that report
        /// it.
        pub deduplicates: bool = false, with_deduplicates(bool);
        /// Whether `Internal`, `Unknown` and `DataLoss` are retried where the handler may have run
        /// and the request is idempotent. Default false: these codes indicate bugs more often than
        /// transient failures.
        pub retries_internal: bool = false, with_retries_internal(bool);
    }
    parts {
        /// Limit on the retries of all calls together.
        pub budget: RetryBudgetConfig, with_budget;
    }
}

impl RetryConfig {
    /// Returns the most attempts of one call, clamped to 1 at least and the ceiling at most.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts_max.clamp(1, ATTEMPTS_CEILING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_have_a_ceiling_and_a_floor() {
        for (set, used) in [(0, 1), (1, 1), (5, 5), (6, 5), (u32::MAX, 5)] {
            assert_eq!(RetryConfig::default().with_attempts_max(set).attempts(), used);
        }
    }

    #[cfg(feature = "json")]
    #[test]
    fn configurations_are_read_from_text_and_unknown_fields_refused() {
        let text = r#"{"attempts_max": 4, "attempt_timeout": "250ms", "budget": {"percent": 10}}"#;
        let config: RetryConfig = serde_json::from_str(text).unwrap();
        let expected = RetryConfig::default()
            .with_attempts_max(4)
            .with_attempt_timeout(Duration::from_millis(250))
            .with_budget(RetryBudgetConfig::default().with_percent(10));
        assert_eq!(config, expected);
        assert!(serde_json::from_str::<RetryConfig>(r#"{"attempts": 4}"#).is_err());
        assert!(serde_json::from_str::<RetryConfig>(r#"{"backoff_max": 4}"#).is_err());
    }
}
