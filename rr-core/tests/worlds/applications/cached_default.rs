//! An exchange that keeps its emergency rate when neither source of rates can be asked.

use std::time::Duration;

use rr_core::{Error, HandlerExt, RequesterExt, Router};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use super::support::{assert_found, assert_passes, explore, within};

const EMERGENCY_RATE: u32 = 100;

async fn rate((): ()) -> Result<u32, Error> {
    Ok(117)
}

struct Exchange {
    sources: [NetworkClient; 2],
    cached: Option<u32>,
    is_right: bool,
}

impl Exchange {
    async fn rate(&mut self) -> u32 {
        if let Some(rate) = self.cached {
            return rate;
        }
        for source in &self.sources {
            if let Ok(rate) = source.call::<u32>(&within(1), "rates.euro", &()).safe().await {
                return *self.cached.insert(rate);
            }
        }
        if !self.is_right {
            self.cached = Some(EMERGENCY_RATE);
        }
        EMERGENCY_RATE
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    for source in ["bank", "market"] {
        network.serve(source, || Router::new().route("rates.euro", rate.safe()));
    }
    let sources = ["bank", "market"].map(|to| network.client("exchange", to));
    let mut exchange = Exchange { sources, cached: None, is_right };

    exchange.rate().await;
    sleep(Duration::from_secs(3600)).await;

    let rate = exchange.rate().await;
    assert!(rate == 117, "an hour later the rate is still {rate}");
}

#[test]
fn a_default_that_is_cached_stays() {
    assert_found(
        &explore(false, scenario),
        "exchange>bank/rates.euro#1=connect-fails,exchange>market/rates.euro#1=connect-fails",
        "an hour later the rate is still 100",
    );
}

#[test]
fn a_default_that_is_not_cached_passes() {
    assert_passes(&explore(true, scenario));
}
