//! The conformance suite over the in-memory transport, in virtual time.
//!
//! Skipped: typed calls, which are rr-core's, and what the plan below says. Its peer below the API
//! hands heads of requests to an intake by itself.

#![cfg(feature = "conformance")]

use crate::support;
use rr_testkit::conformance::{Card, Plan, check_cards};

/// Requests and replies pass by value: there is no text that could be wrong.
fn plan() -> Plan {
    Plan::v1()
        .skip("deadline/malformed_is_invalid_argument", "a timeout passes as a number, not as text")
        .skip("errors/unknown_code_tolerated", "a code passes as one of the 16, not as text")
        .skip("errors/malformed_reply_is_bad_response", "a reply passes as a value, not as bytes")
        .skip("errors/garbage_harms_nobody", "a request passes as a value, not as bytes")
        .skip("headers/without_end_are_refused", "a request passes as a value, not as bytes")
        .skip("size/replies_not_taken_are_bounded", "nobody holds a reply but the caller")
        .skip("size/peers_that_take_nothing_are_ended", "nobody holds a reply but the caller")
}

rr_testkit::conformance!(support::Memory, plan());

#[test]
fn the_card_in_the_readme_is_current() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    check_cards(readme, &[Card::of(&support::Memory, &plan())]);
}
