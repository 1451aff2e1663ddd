//! Configuration of a balance.

use std::time::Duration;

use rr_spi::defaults;

use crate::retry::RetryBudgetConfig;

rr_spi::options! {
    /// Choice, ejection, slow start and budget of a [`Balance`](super::Balance).
    ///
    /// The defaults of the ejection follow gRFC A50 and Envoy's outlier detection, the slow start follows
    /// that of Envoy.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rr_core::balance::BalanceConfig;
    ///
    /// let config = BalanceConfig::default()
    ///     .with_failures_in_row_max(3)
    ///     .with_ejection_time(Duration::from_secs(10));
    /// assert_eq!(config.success_percent_min, 80);
    /// ```
    pub struct BalanceConfig {
        /// Timeout of a call whose context has no deadline; all endpoints that the call tries share
        /// it. Default 10 s; 0 fails such a call. With a single endpoint, the timeout of the endpoint
        /// applies instead.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub timeout: Duration = defaults::CLIENT_TIMEOUT, with_timeout(Duration);
        /// Time after which a latency counts for a third (1/e) of its value. A longer time steers
        /// more steadily, and returns later to an endpoint that was slow. Default 10 s; 0 keeps only
        /// the latest value.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub latency_decay: Duration = Duration::from_secs(10), with_latency_decay(Duration);
        /// Consecutive failures that eject an endpoint. Default 5; 0 never ejects for them.
        pub failures_in_row_max: u32 = 5, with_failures_in_row_max(u32);
        /// Success rate in percent below which an endpoint is ejected. Default 80; 0 never ejects
        /// for it.
        pub success_percent_min: u32 = 80, with_success_percent_min(u32);
        /// Time over which the success rate is computed; the count then starts again. Default 10 s;
        /// 0 counts only calls that end at the same instant.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub success_window: Duration = Duration::from_secs(10), with_success_window(Duration);
        /// Calls in one window without which an endpoint has no success rate. Default 50: an endpoint
        /// that succeeds 95 times in 100 then falls below 80 % in less than one of 10,000 windows;
        /// 0 counts as 1.
        pub success_calls_min: u32 = 50, with_success_calls_min(u32);
        /// Duration of the first ejection of an endpoint; each further ejection lasts longer by this
        /// time, and each such time without a failure after the return takes one step back. Default
        /// 30 s; 0 lets the next call probe the endpoint immediately.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub ejection_time: Duration = Duration::from_secs(30), with_ejection_time(Duration);
        /// Longest ejection. Default 300 s; 0 lets the next call probe the endpoint immediately.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub ejection_time_max: Duration = Duration::from_secs(300), with_ejection_time_max(Duration);
        /// Time after which an endpoint that is new or has returned from an ejection gets an equal share
        /// of the calls; at first it gets a tenth of that. Default 10 s; 0 gives all of it immediately.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub slow_start: Duration = Duration::from_secs(10), with_slow_start(Duration);
    }
    parts {
        /// Limit on the calls that move to another endpoint.
        pub budget: RetryBudgetConfig, with_budget;
    }
}
