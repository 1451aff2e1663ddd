//! The cards in the README, which has those of all rigs: features make one of them.

use rr_testkit::conformance::{Card, check_cards};

use crate::secured::Secured;
use crate::{Nats, across, cut, plan};

#[test]
fn the_cards_in_the_readme_are_current() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let plans = [(Nats::One, plan()), (Nats::Proxied, cut()), (Nats::Cluster, across())];
    let mut cards = plans.map(|(harness, plan)| Card::of(&harness, &plan)).to_vec();
    cards.push(Card::of(&Secured, &plan()));
    check_cards(readme, &cards);
}
