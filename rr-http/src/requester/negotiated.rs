//! A call whose version of HTTP the server chooses.

use rr_spi::{Attempt, Error, Request, Response};

use super::{Inner, reach_h1};
use crate::pool::{BothPools, NegotiatedVersion, is_other_version};

/// Maximum number of times that a call goes to the other pool. One is the rule, for the first call
/// and after a server has changed its mind; more happen only behind a load balancer whose servers
/// differ.
const SWITCHES_MAX: usize = 8;

impl Inner {
    /// Makes the call by the version of the newest connection. A call that waits for a connection
    /// which turns out to have the other version continues in the pool of that version.
    pub(super) async fn call_negotiated(
        &self,
        pools: &BothPools,
        attempt: &Attempt,
        request: &Request,
    ) -> Result<Response, Error> {
        let mut switches = 0;
        loop {
            let outcome = match pools.version() {
                NegotiatedVersion::H1 => self.call_h1(&pools.h1, attempt, request).await,
                NegotiatedVersion::H2 => self.call_h2(&pools.h2, attempt, request).await,
            };
            match outcome {
                Err(error) if is_other_version(&error) && switches < SWITCHES_MAX => switches += 1,
                outcome => return outcome,
            }
        }
    }

    /// Makes sure that one of the pools has a usable connection.
    pub(super) async fn reach_negotiated(pools: &BothPools) -> Result<(), Error> {
        let mut switches = 0;
        loop {
            let outcome = match pools.version() {
                NegotiatedVersion::H1 => reach_h1(&pools.h1).await,
                NegotiatedVersion::H2 => pools.h2.checkout().await.map(drop),
            };
            match outcome {
                Err(error) if is_other_version(&error) && switches < SWITCHES_MAX => switches += 1,
                outcome => return outcome,
            }
        }
    }
}
