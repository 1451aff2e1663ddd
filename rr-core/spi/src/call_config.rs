//! Timeout and body limits of a requester's calls, the same for every transport.

use std::time::Duration;

use crate::defaults;
use crate::limits::Limits;

crate::options! {
    /// Timeout and body limits of a requester's calls.
    #[derive(Copy)]
    pub struct CallConfig {
        /// Timeout of a call without a deadline. Default 10 s; 0 fails such calls immediately.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout: Duration = defaults::CLIENT_TIMEOUT, with_timeout(Duration);
    }
    parts {
        /// Longest request and response bodies.
        pub limits: Limits, with_limits;
    }
}
