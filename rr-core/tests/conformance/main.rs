//! The conformance suite over what rr-core adds to a transport, in virtual time: calls without IO,
//! middleware on either side, a bridge, and clients that a URL makes.
#![allow(clippy::unwrap_used, reason = "harnesses of tests, outside of any test function")]

mod layered;
mod local;
mod typed;

use rr_testkit::conformance::{Card, Plan, check_cards};

use layered::{Layered, bridge_plan};

mod around_requester {
    use super::*;

    rr_testkit::conformance!(Layered::AROUND_REQUESTER);
}

mod around_routes {
    use super::*;

    rr_testkit::conformance!(Layered::AROUND_ROUTES);
}

mod around_both {
    use super::*;

    rr_testkit::conformance!(Layered::AROUND_BOTH);
}

mod bridge {
    use super::*;

    rr_testkit::conformance!(Layered::BRIDGE, bridge_plan());
}

#[test]
fn the_cards_in_the_readme_are_current() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let layered = [Layered::AROUND_REQUESTER, Layered::AROUND_ROUTES, Layered::AROUND_BOTH];
    let mut cards = vec![Card::of(&local::InProcess, &Plan::v1())];
    cards.extend(layered.map(|harness| Card::of(&harness, &Plan::v1())));
    cards.push(Card::of(&Layered::BRIDGE, &bridge_plan()));
    check_cards(readme, &cards);
}
