//! A theatre that holds a seat while it asks for the price, and releases it only if it gets that far.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::{Code, Context, Error, HandlerExt, RequesterExt, Router, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

async fn quote(_seat: u32) -> Result<u32, Error> {
    Ok(30)
}

struct Theatre {
    prices: NetworkClient,
    held: Kept<BTreeSet<u32>>,
    is_right: bool,
}

/// Seat that is released when the guard is dropped.
struct Hold<'a>(&'a Theatre, u32);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.release(self.1);
    }
}

impl Theatre {
    fn release(&self, seat: u32) {
        self.held.lock().unwrap().remove(&seat);
    }

    async fn offer(self: Arc<Self>, ctx: Context, seat: u32) -> Result<u32, Error> {
        if !self.held.lock().unwrap().insert(seat) {
            return Err(Error::new(Code::Aborted, "another visitor looks at this seat"));
        }
        if self.is_right {
            let _hold = Hold(&self, seat);
            return Ok(self.prices.call::<u32>(&ctx, "prices.quote", &seat).safe().await?);
        }
        let price = self.prices.call::<u32>(&ctx, "prices.quote", &seat).safe().await;
        self.release(seat);
        Ok(price?)
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    network.serve("prices", || Router::new().route("prices.quote", quote.safe()));
    let held = Kept::default();
    let prices = network.client("theatre", "prices");
    let theatre = Arc::new(Theatre { prices, held: Arc::clone(&held), is_right });
    network.serve("theatre", move || {
        Service::new("theatre", Arc::clone(&theatre)).method("offer", Theatre::offer)
    });

    let user = network.client("user", "theatre");
    let _ = user.call::<u32>(&within(5), "theatre.offer", &12).await;
    settle(&network).await;

    assert!(held.lock().unwrap().is_empty(), "seat 12 is held for a visitor who has left");
}

#[test]
fn a_cancelled_handler_leaves_its_reservation() {
    assert_found(
        &explore(false, scenario),
        "user>theatre/theatre.offer#1=broken-within",
        "seat 12 is held for a visitor who has left",
    );
}

#[test]
fn a_reservation_that_ends_with_its_handler_passes() {
    assert_passes(&explore(true, scenario));
}
