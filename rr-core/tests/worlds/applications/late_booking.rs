//! A travel agency that cancels a booking which has not arrived yet: the hotel has nothing to cancel,
//! and books the room afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rr_core::{Code, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

struct Hotel {
    rooms: Kept<BTreeSet<u32>>,
    cancelled: Kept<BTreeSet<u32>>,
    is_right: bool,
}

impl Hotel {
    async fn book(self: Arc<Self>, trip: u32) -> Result<(), Error> {
        if self.cancelled.lock().unwrap().contains(&trip) {
            return Err(Error::new(Code::FailedPrecondition, "the trip was cancelled"));
        }
        self.rooms.lock().unwrap().insert(trip);
        Ok(())
    }

    async fn cancel(self: Arc<Self>, trip: u32) -> Result<(), Error> {
        if self.is_right {
            self.cancelled.lock().unwrap().insert(trip);
        }
        self.rooms.lock().unwrap().remove(&trip);
        Ok(())
    }
}

/// Books a room; returns whether the customer has it.
async fn book(hotel: &NetworkClient, trip: u32) -> bool {
    if hotel.call::<()>(&within(1), "hotel.book", &trip).idempotent().await.is_ok() {
        return true;
    }
    while hotel.call::<()>(&within(1), "hotel.cancel", &trip).idempotent().await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
    false
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let rooms = Kept::default();
    let (cancelled, hotel_rooms) = (Kept::default(), Arc::clone(&rooms));
    let hotel = Arc::new(Hotel { rooms: hotel_rooms, cancelled, is_right });
    network.serve("hotel", move || {
        Service::new("hotel", Arc::clone(&hotel))
            .method("book", Hotel::book.idempotent())
            .method("cancel", Hotel::cancel.idempotent())
    });

    let is_booked = book(&network.client("agency", "hotel"), 7).await;
    settle(&network).await;

    let rooms = rooms.lock().unwrap().len();
    assert!(rooms == usize::from(is_booked), "the trip has {rooms} rooms, booked: {is_booked}");
}

#[test]
fn a_booking_that_arrives_after_its_cancellation_stays() {
    assert_found(
        &explore(false, scenario),
        "agency>hotel/hotel.book#1=late",
        "the trip has 1 rooms, booked: false",
    );
}

#[test]
fn a_hotel_that_remembers_cancellations_passes() {
    assert_passes(&explore(true, scenario));
}
