//! The conformance suite over what this crate puts around NATS, with a nats-server for each case.
//!
//! Skipped: what needs a peer below the API, as the wires of a bridge's two sides are tried where
//! the transports are. In front of the bridge, also what cuts the link or kills the server; behind
//! it, only that is run, and what stops the server. By URL, only typed calls.

#![cfg(all(feature = "http", feature = "json", feature = "nats"))]

#[path = "../conformance/bridge_plan.rs"]
mod bridge_plan;
mod rigs;
#[path = "../conformance/typed.rs"]
mod typed;
#[path = "../conformance/url.rs"]
mod url;

use rigs::{Bridge, ByUrl};

mod nats_by_url {
    use super::*;

    rr_testkit::conformance!(ByUrl, url::typed_only());
}

mod bridge_front {
    use super::*;

    rr_testkit::conformance!(Bridge::Front, Bridge::Front.plan());
}

mod bridge_back {
    use super::*;

    rr_testkit::conformance!(Bridge::Back, Bridge::Back.plan());
}
