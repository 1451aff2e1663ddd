//! What a requester grants to each call, whatever its transport.

use std::time::Duration;

use crate::defaults;
use crate::limits::Limits;

crate::options! {
    /// What a requester grants to each call.
    #[derive(Copy)]
    pub struct CallConfig {
        /// Time for a call whose context has no deadline. Default 10 s; 0 fails such calls at once.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub timeout: Duration = defaults::CLIENT_TIMEOUT, with_timeout(Duration);
    }
    parts {
        /// Longest bodies.
        pub limits: Limits, with_limits;
    }
}
