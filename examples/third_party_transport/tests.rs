//! What the suite cannot see: the card of the README, and input that makes no sense.
//!
//! The cases themselves run in `main`. A crate of its own would have a test for each of them, from
//! `rr_testkit::conformance!(Framed, plan());` in its `tests`.

use std::time::Duration;

use rr_spi::{Attempt, Bytes, Code, Context, Dedup, Error, Idempotency, Request, Response, Target};
use rr_testkit::conformance::{Card, check_cards};

use crate::{harness, wire};

#[test]
fn the_card_in_the_readme_is_current() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/third_party_transport/README.md");
    check_cards(readme, &[Card::of(&harness::Framed, &harness::plan())]);
}

#[test]
fn a_message_that_breaks_off_anywhere_is_refused() -> Result<(), Error> {
    let ctx = Context::background().with_request_id("id")?;
    let attempt = Attempt::start(&ctx, Duration::from_secs(1))?;
    let mut request = Request::new(Target::try_from("a.b")?, "");
    request = request.with_idempotency(Idempotency::Safe);
    request.headers.append("x-shop", "berlin")?;
    let message = Bytes::from(wire::write_request(&attempt, &request)).slice(5..);
    assert!(wire::read_request(&message).is_ok());
    for end in 0..message.len() {
        assert!(wire::read_request(&message.slice(..end)).is_err(), "{end}");
    }
    Ok(())
}

#[test]
fn what_is_said_of_duplicates_crosses_the_wire() {
    let read = |outcome| wire::read_reply(&Bytes::from(wire::write_reply(&outcome)).slice(5..));
    let response = Response::new("x").with_dedup(Dedup::On);
    assert_eq!(read(Ok(response.clone())).ok(), Some(response));
    let error = Error::new(Code::NotFound, "").with_dedup(Dedup::Replayed);
    assert_eq!(read(Err(error)).map_err(|error| error.dedup()), Err(Some(Dedup::Replayed)));
}

#[test]
fn bytes_of_any_kind_are_read_or_refused() {
    // Every pair of bytes, as lengths and as text, at the start and repeated.
    for pair in 0..=u16::MAX {
        for times in [1, 2, 40] {
            let bytes = Bytes::from(pair.to_be_bytes().repeat(times));
            let _ = (wire::read_request(&bytes), wire::read_reply(&bytes));
        }
    }
}
