//! A call whose version of HTTP the server chooses.

use rr_spi::{Attempt, Error, Request, Response};

use super::h2::Resent;
use super::{Inner, reach_h1};
use crate::pool::{BothPools, NegotiatedVersion, is_other_version};

/// Maximum number of times that a call goes to the other pool. One is the rule, for the first call
/// and after a server has changed its mind; more happen only behind a load balancer whose servers
/// differ.
const SWITCHES_MAX: usize = 8;

/// Number of times that a call went to the other pool.
#[derive(Default)]
struct Switches(usize);

impl Switches {
    /// Returns whether the call goes to the other pool, because it waited for a connection which
    /// turned out to have the other version.
    fn follow<T>(&mut self, outcome: &Result<T, Error>) -> bool {
        self.0 += 1;
        self.0 <= SWITCHES_MAX && outcome.as_ref().is_err_and(is_other_version)
    }
}

impl Inner {
    /// Makes the call by the version of the newest connection.
    pub(super) async fn call_negotiated(
        &self,
        pools: &BothPools,
        attempt: &Attempt,
        request: &Request,
    ) -> Result<Response, Error> {
        let (mut switches, mut resent) = (Switches::default(), Resent::default());
        loop {
            let outcome = match pools.version() {
                NegotiatedVersion::H1 => self.call_h1(&pools.h1, attempt, request).await,
                NegotiatedVersion::H2 => {
                    self.call_h2(&pools.h2, attempt, request, &mut resent).await
                }
            };
            if !switches.follow(&outcome) {
                return outcome;
            }
        }
    }

    /// Makes sure that one of the pools has a usable connection.
    pub(super) async fn reach_negotiated(
        pools: &BothPools,
        attempt: &Attempt,
    ) -> Result<(), Error> {
        let mut switches = Switches::default();
        loop {
            let outcome = match pools.version() {
                NegotiatedVersion::H1 => reach_h1(&pools.h1, attempt).await,
                NegotiatedVersion::H2 => pools.h2.checkout(attempt).await.map(drop),
            };
            if !switches.follow(&outcome) {
                return outcome;
            }
        }
    }
}
