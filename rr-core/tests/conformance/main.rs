//! The conformance suite over what this crate puts around transports. All in virtual time but one
//! case over HTTP; `conformance_nats` has the rigs that need a nats-server.
//!
//! Skipped: over memory, what needs a wire. Over `Local`, also what needs limits of the requester
//! apart from the server's, as it is both ends at once, and a link or a process of the server's, as
//! there is none between them. By URL, what sets limits of the requester.

#![cfg(all(feature = "http", feature = "json", feature = "memory"))]

mod bridge;
mod bridge_plan;
mod http;
mod layered;
mod local;
mod memory;
#[cfg(feature = "nats")]
#[path = "../conformance_nats/rigs/mod.rs"]
mod nats;
mod typed;
mod url;

use rr_testkit::conformance::Plan;
#[cfg(feature = "nats")]
use rr_testkit::conformance::{Card, check_cards};

use bridge::Bridge;
use http::Http;
use layered::{Layered, Nested, Pass};
use local::InProcess;
use memory::Memory;

/// Runs the suite over each harness with its plan, in a module of that name, and makes their cards.
macro_rules! rigs {
    ($($module:ident: $harness:expr, $plan:expr;)*) => {
        $(
            mod $module {
                use super::*;

                rr_testkit::conformance!($harness, $plan);
            }
        )*

        #[cfg(feature = "nats")]
        fn cards() -> Vec<Card> {
            vec![$(Card::of(&$harness, &$plan)),*]
        }
    };
}

// A layer joins with a line: `Layered::calls` or `Layered::routes`, and what its plan leaves out.
rigs! {
    in_process: InProcess, Plan::v1();
    over_memory: Memory::ByHand, Plan::v1();
    over_memory_by_url: Memory::ByUrl, Plan::v1();
    over_http_by_url: Http, url::typed_only();
    stack: Layered::calls("stack (memory)", |stack| stack.with(Pass)), Plan::v1();
    router: Layered::routes("router (memory)", |router| router.with(Pass)), Plan::v1();
    stack_and_router: Layered::calls("stack and router (memory)", |stack| stack.with(Pass).with(Nested))
        .and_routes(|router| router.with(Nested).with(Pass)), Plan::v1();
    bridge_front: Bridge::Front, bridge_plan::front();
    bridge_back: Bridge::Back, bridge_plan::back();
    bridge_layered_back: Bridge::LayeredBack, bridge_plan::back();
}

#[cfg(feature = "nats")]
#[test]
fn the_cards_in_the_readme_are_current() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let mut cards = cards();
    cards.push(Card::of(&nats::ByUrl, &url::typed_only()));
    let bridges = [nats::Bridge::Front, nats::Bridge::Back];
    cards.extend(bridges.map(|bridge| Card::of(&bridge, &bridge.plan())));
    check_cards(readme, &cards);
}
