//! The cards in the README, which has those of all rigs: the feature `tls` makes some of them.

use rr_http::HttpVersion;
use rr_testkit::conformance::{Card, Plan, check_cards};

use crate::mounted::Mounted;
use crate::{Http, both, cut};

#[test]
fn the_cards_in_the_readme_are_current() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let card = |harness: Http| Card::of(&harness, &Plan::v1());
    let over_tls = [Http::tls(HttpVersion::H1), Http::tls(HttpVersion::H2), Http::mutual_tls()];
    let whole = both(Http::tcp).into_iter().chain(over_tls).chain(both(Http::pipe));
    let mut cards: Vec<_> = whole.map(card).collect();
    cards.extend(both(Http::proxied).map(|harness| Card::of(&harness, &cut())));
    cards.extend(
        [HttpVersion::H1, HttpVersion::H2c]
            .map(|version| Card::of(&Mounted::axum(version), &Mounted::plan(version))),
    );
    check_cards(readme, &cards);
}
