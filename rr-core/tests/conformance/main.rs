//! The conformance suite over what this crate puts around transports. All in virtual time but
//! what is run over HTTP; `conformance_nats` has the rigs that need a nats-server.
//!
//! Skipped: over memory, what needs a wire. Over `Local`, also what needs limits of the requester
//! apart from the server's, as it is both ends at once, and a link or a process of the server's, as
//! there is none between them. By URL, what sets limits of the requester. Around retries, what expects
//! a refusal at once.

#![cfg(feature = "json")]
#![cfg_attr(
    not(all(feature = "http", feature = "memory")),
    allow(dead_code, reason = "rigs by URL need the features that bring a URL")
)]

mod balanced;
mod bridge;
mod bridge_plan;
mod dedup;
mod http;
mod layered;
mod local;
mod memory;
mod retry_plan;
#[cfg(feature = "tower")]
mod tower_layers;
mod typed;
mod url;

use rr_core::dedup::Deduplicate;
use rr_core::hedge::Hedge;
use rr_core::limit::{AdaptiveConfig, ConcurrencyLimit, RateConfig, RateLimit};
use rr_core::retry::Retry;
use rr_core::throttle::{Throttle, ThrottleConfig};
use rr_core::{Stack, recommended, recommended_server};
use rr_testkit::conformance::{Card, Plan, check_cards};

use bridge::Bridge;
use http::Http;
use layered::{Layered, Nested, Pass};
use local::InProcess;
use memory::Memory;
use retry_plan::retrying;

/// Runs the suite over each harness with its plan, in a module of that name, and makes their cards.
macro_rules! rigs {
    ($($(#[$only:meta])? $module:ident: $harness:expr, $plan:expr;)*) => {
        $(
            $(#[$only])?
            mod $module {
                use super::*;

                rr_testkit::conformance!($harness, $plan);
            }
        )*

        fn cards() -> Vec<Card> {
            vec![$(Card::of(&$harness, &$plan)),*]
        }
    };
}

// A layer joins with a line: `Layered::calls` or `Layered::routes`, and what its plan leaves out.
rigs! {
    in_process: InProcess, Plan::v1();
    over_memory: Memory::ByHand, Plan::v1();
    #[cfg(feature = "memory")]
    over_memory_by_url: Memory::ByUrl, Plan::v1();
    #[cfg(feature = "http")]
    over_http_by_url: Http, url::added();
    stack: Layered::calls("stack (memory)", |client| Stack::new(client).with(Pass)), Plan::v1();
    router: Layered::routes("router (memory)", |router| router.with(Pass)), Plan::v1();
    stack_and_router: Layered::calls("stack and router (memory)", |client| Stack::new(client).with(Pass).with(Nested))
        .and_routes(|router| router.with(Nested).with(Pass)), Plan::v1();
    retry: Layered::calls("retry (memory)", |client| Stack::new(client).with(Retry::new())), retrying();
    recommended_stack: Layered::calls("recommended (memory)", recommended), retry_plan::recommended();
    recommended_at_both_ends: Layered::calls("recommended at both ends (memory)", recommended)
        .and_routes(recommended_server), retry_plan::recommended_at_both_ends();
    balance_over_one: Layered::calls("balance over one (memory)", |client| {
        Stack::new(balanced::over(&client, 1)).with(Pass)
    }), Plan::v1();
    balance_over_three: Layered::calls("balance over three (memory)", |client| {
        Stack::new(balanced::over(&client, 3)).with(Pass)
    }), Plan::v1();
    deduplicating: Layered::routes("deduplicating (memory)", |router| {
        router.with(Deduplicate::in_process())
    }), Plan::v1();
    hedge: Layered::calls("hedge (memory)", |client| Stack::new(client).with(Hedge::new())), Plan::v1();
    throttle: Layered::calls("throttle (memory)", |client| Stack::new(client).with(patient_throttle())), Plan::v1();
    fixed_limit: Layered::calls("fixed limit (memory)", |client| {
        Stack::new(client).with(ConcurrencyLimit::fixed(10_000))
    }), Plan::v1();
    adaptive_limit: Layered::calls("adaptive limit (memory)", |client| {
        Stack::new(client).with(ConcurrencyLimit::adaptive(roomy()))
    }), Plan::v1();
    rate_limit: Layered::calls("rate limit (memory)", |client| {
        Stack::new(client).with(RateLimit::new(high_rate()))
    }), Plan::v1();
    limited_routes: Layered::routes("limits on routes (memory)", |router| {
        let router = router.with(RateLimit::new(high_rate()));
        router.with(ConcurrencyLimit::adaptive(roomy())).with(ConcurrencyLimit::fixed(10_000))
    }), Plan::v1();
    #[cfg(feature = "tower")]
    tower_around_calls: Layered::calls("tower layers (memory)", |client| {
        Stack::new(client).with(tower_layers::around())
    }), Plan::v1();
    #[cfg(feature = "tower")]
    tower_around_routes: Layered::routes("tower layers on routes (memory)", |router| {
        router.with(tower_layers::around())
    }), Plan::v1();
    bridge_front: Bridge::Front, bridge_plan::front();
    bridge_back: Bridge::Back, bridge_plan::back();
    bridge_layered_back: Bridge::LayeredBack, bridge_plan::back();
}

/// Returns a throttle that holds nothing back: most calls of some cases fail on purpose.
fn patient_throttle() -> Throttle {
    Throttle::with_config(ThrottleConfig::default().with_failures_free(1_000_000))
}

/// Returns the bounds of a limit that no case reaches.
fn roomy() -> AdaptiveConfig {
    AdaptiveConfig::default().with_initial(10_000).with_min(1000).with_max(10_000)
}

/// Returns a rate that no case reaches.
fn high_rate() -> RateConfig {
    RateConfig::default().with_calls_per_second(1_000_000).with_burst(1_000_000)
}

/// The file has the cards of every feature.
#[cfg(feature = "tower")]
#[test]
fn the_cards_in_the_readme_are_current() {
    check_cards(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"), &cards());
}
