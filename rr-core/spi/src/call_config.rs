//! Timeout, body limits and observers of a requester's calls, the same for every transport.

use std::time::Duration;

use crate::defaults;
use crate::limits::Limits;
use crate::observe::Observers;

crate::options! {
    /// Timeout, body limits and observers of a requester's calls.
    pub struct CallConfig {
        /// Timeout of a call without a deadline. Default 10 s; 0 fails such calls immediately.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout: Duration = defaults::CLIENT_TIMEOUT, with_timeout(Duration);
    }
    parts {
        /// Longest request and response bodies.
        pub limits: Limits, with_limits;
        /// Observers of the attempts of calls. Set in code only. Default none.
        #[serde(skip)]
        pub observers: Observers, with_observers;
    }
}
