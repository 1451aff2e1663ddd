//! A search that gives each try 2 s, also when its own caller has less time left.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt, RequesterExt, Router, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{assert_found, assert_passes, explore, within};

async fn find(_word: String) -> Result<u32, Error> {
    Ok(42)
}

struct Search {
    indexes: [NetworkClient; 2],
    is_right: bool,
}

impl Search {
    async fn find(self: Arc<Self>, ctx: Context, word: String) -> Result<u32, Error> {
        let mut outcome = Err(Error::new(rr_core::Code::Unavailable, "no index was asked"));
        for index in self.indexes.iter().cycle().take(3) {
            let ctx = if self.is_right { ctx.clone() } else { ctx.detached() };
            let ctx = ctx.with_timeout(Duration::from_secs(2));
            let found = index.call::<u32>(&ctx, "index.find", &word).safe().await;
            outcome = found.map_err(Error::from);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    for index in ["old", "new"] {
        network.serve(index, || Router::new().route("index.find", find.safe()));
    }
    let indexes = ["old", "new"].map(|to| network.client("search", to));
    let search = Arc::new(Search { indexes, is_right });
    network.serve("search", move || {
        Service::new("search", Arc::clone(&search)).method("find", Search::find.safe())
    });

    let user = network.client("user", "search");
    let _ = user.call::<u32>(&within(5), "search.find", "rust").safe().await;
}

#[test]
fn a_third_try_takes_longer_than_the_caller_waits() {
    assert_found(
        &explore(false, scenario),
        "user>search/search.find#1=delayed,search>old/index.find#1=request-lost",
        "search>new/index.find may take longer than the request it serves",
    );
}

#[test]
fn tries_that_share_the_deadline_pass() {
    assert_passes(&explore(true, scenario));
}
