//! A travel agency that cancels the hotel when there is no flight, and ignores that the
//! cancellation fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rr_core::{CallError, Code, Error, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

/// A hotel or an airline.
#[derive(Default)]
struct Bookings {
    trips: Kept<BTreeSet<u32>>,
    cancelled: Kept<BTreeSet<u32>>,
}

impl Bookings {
    async fn book(self: Arc<Self>, trip: u32) -> Result<(), Error> {
        if self.cancelled.lock().unwrap().contains(&trip) {
            return Err(Error::new(Code::FailedPrecondition, "the trip was cancelled"));
        }
        self.trips.lock().unwrap().insert(trip);
        Ok(())
    }

    async fn cancel(self: Arc<Self>, trip: u32) -> Result<(), Error> {
        self.cancelled.lock().unwrap().insert(trip);
        self.trips.lock().unwrap().remove(&trip);
        Ok(())
    }

    fn serve(self: Arc<Self>, network: &Network, name: &'static str) {
        network.serve(name, move || {
            Service::new(name, Arc::clone(&self))
                .method("book", Self::book)
                .method("cancel", Self::cancel)
        });
    }
}

struct Agency {
    hotel: NetworkClient,
    flight: NetworkClient,
    is_right: bool,
}

impl Agency {
    async fn book(&self, trip: u32) {
        if self.book_both(trip).await.is_err() {
            self.undo(&self.hotel, "hotel.cancel", trip).await;
            self.undo(&self.flight, "flight.cancel", trip).await;
        }
    }

    async fn book_both(&self, trip: u32) -> Result<(), CallError> {
        self.hotel.call::<()>(&within(1), "hotel.book", &trip).idempotent().await?;
        self.flight.call::<()>(&within(1), "flight.book", &trip).idempotent().await
    }

    async fn undo(&self, client: &NetworkClient, target: &str, trip: u32) {
        while client.call::<()>(&within(1), target, &trip).idempotent().await.is_err() {
            if !self.is_right {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let (hotel, flight) = (Arc::new(Bookings::default()), Arc::new(Bookings::default()));
    Arc::clone(&hotel).serve(&network, "hotel");
    Arc::clone(&flight).serve(&network, "flight");
    let client = |to| network.client("agency", to);
    let agency = Agency { hotel: client("hotel"), flight: client("flight"), is_right };

    agency.book(7).await;
    settle(&network).await;

    let rooms = hotel.trips.lock().unwrap();
    let seats = flight.trips.lock().unwrap();
    assert!(*rooms == *seats, "trip 7 has {} rooms and {} seats", rooms.len(), seats.len());
}

#[test]
fn a_compensation_that_is_tried_once_is_lost() {
    assert_found(
        &explore(false, scenario),
        "agency>hotel/hotel.book#1=reply-lost,agency>hotel/hotel.cancel#1=connect-fails",
        "trip 7 has 1 rooms and 0 seats",
    );
}

#[test]
fn a_compensation_that_is_repeated_passes() {
    assert_passes(&explore(true, scenario));
}
