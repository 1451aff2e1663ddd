//! The conformance suite over what this crate puts around NATS, with a nats-server for each case.
//!
//! Skipped: in front of the bridge, what cuts the link or kills the server, as its line to callers is
//! tried where HTTP is, and a malformed reply, as every message is a reply over NATS. Behind it only
//! what stops, cuts or kills something is run. By URL, only typed calls and the
//! suppression of duplicates are.

#![cfg(all(feature = "http", feature = "json", feature = "nats"))]

#[path = "../conformance/bridge_plan.rs"]
mod bridge_plan;
#[path = "../conformance/dedup.rs"]
mod dedup;
mod rigs;
#[path = "../conformance/typed.rs"]
mod typed;
#[path = "../conformance/url.rs"]
mod url;

use rr_testkit::conformance::{Card, check_cards};

use rigs::{Bridge, ByUrl};

mod nats_by_url {
    use super::*;

    rr_testkit::conformance!(ByUrl, url::added());
}

mod bridge_front_over_nats {
    use super::*;

    rr_testkit::conformance!(Bridge::Front, Bridge::Front.plan());
}

mod bridge_back_over_nats {
    use super::*;

    rr_testkit::conformance!(Bridge::Back, Bridge::Back.plan());
}

#[test]
fn the_cards_beside_the_readme_are_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/BRIDGE.md");
    let bridges = [Bridge::Front, Bridge::Back];
    let mut cards = Vec::from(bridges.map(|bridge| Card::of(&bridge, &bridge.plan())));
    cards.push(Card::of(&ByUrl, &url::added()));
    check_cards(file, &cards);
}
