//! The conformance suite over real nats-servers, started afresh for each case: one server; one
//! with something between that cuts connections; a cluster, with requester and responder at
//! different nodes.
//!
//! Skipped on one server and on the cluster: what cuts the link or kills the server. Through the
//! proxies only that runs, and what does more where the link can be cut. Skipped everywhere:
//! `errors/malformed_reply_is_bad_response`, as every message is a reply (`foreign.rs` shows what a
//! header block that cannot be read does). Skipped on the cluster: what calls a responder while it
//! leaves, as its node drops what other nodes send before they hear of it.
#![allow(clippy::unwrap_used, reason = "harnesses of tests, outside of any test function")]

#[cfg(all(feature = "nkeys", feature = "tls"))]
#[path = "../../../rr-tls/tests/it/authority.rs"]
#[allow(dead_code, reason = "the suite needs a part of it")]
mod authority;
#[cfg(all(feature = "nkeys", feature = "tls"))]
mod cards;
mod raw;
mod rig;
#[cfg(all(feature = "nkeys", feature = "tls"))]
mod secured;

use std::time::Duration;

use rr_nats::{NatsConfig, NatsServerConfig};
use rr_spi::{Error, Routes, async_trait};
use rr_testkit::NatsServer;
use rr_testkit::conformance::{
    Capabilities, Capability, Case, Harness, Lab, Plan, Rig, StartOptions, cases,
};

use rig::{Running, Way};

/// How requesters and responder reach each other.
#[derive(Clone, Copy)]
enum Nats {
    One,
    Proxied,
    Cluster,
}

#[async_trait]
impl Harness for Nats {
    fn name(&self) -> &str {
        match self {
            Self::One => "nats",
            Self::Proxied => "nats (proxied)",
            Self::Cluster => "nats (cluster)",
        }
    }

    fn capabilities(&self) -> Capabilities {
        let can_be_cut = matches!(self, Self::Proxied);
        let there = Capabilities::default().with_link(can_be_cut).with_cut(can_be_cut);
        there.with_restart(can_be_cut)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let way = match self {
            Self::One => Way::direct(vec![NatsServer::start().await.unwrap()]),
            Self::Proxied => Way::proxied(NatsServer::start().await.unwrap()).await,
            Self::Cluster => Way::direct(NatsServer::start_cluster(2).await.unwrap()),
        };
        let server = NatsServerConfig::default().with_intake(options.server);
        let client = NatsConfig::default().with_calls(options.calls);
        Ok(Box::new(Running::start(way, routes, server, client).await?))
    }
}

fn plan() -> Plan {
    let reason = "every message is a reply over NATS, whatever its bytes are";
    Plan::v1().skip("errors/malformed_reply_is_bad_response", reason)
}

/// Across nodes: a responder's node drops what other nodes have sent before they hear that it left.
fn across() -> Plan {
    let reason = "a node drops what other nodes send to a responder that has just left it";
    // Each of these cases calls a responder while it drains.
    [
        "idle_clients_do_not_hold_it",
        "in_flight_finish",
        "newcomers_rejected_retryable",
        "lame_duck_serves_until_the_drain",
        "second_stop_ends_the_lame_duck",
        "shorter_grace_holds",
        "stop_twice",
        "under_load_loses_nothing",
    ]
    .iter()
    .fold(plan(), |plan, case| plan.skip(format!("drain/{case}"), reason))
}

/// Through the proxies: what needs the link, and what does more where there is one.
fn cut() -> Plan {
    let link = [Some(Capability::Link), Some(Capability::Restart)];
    let needs_link = |case: &&Case| link.contains(&case.needs());
    let plan = Plan::v1().only("delivery/*").only("leak/*");
    cases().iter().filter(needs_link).fold(plan, |plan, case| plan.only(case.name()))
}

mod one {
    use super::*;

    rr_testkit::conformance!(Nats::One, plan());
}

mod proxied {
    use super::*;

    rr_testkit::conformance!(Nats::Proxied, cut());
}

mod cluster {
    use super::*;

    rr_testkit::conformance!(Nats::Cluster, across());
}

/// What the suite is told of a rig must be there, or its cases about leaks look at nothing.
#[tokio::test]
async fn the_servers_count_shows_who_is_connected_and_what_is_subscribed() {
    for harness in [Nats::One, Nats::Proxied, Nats::Cluster] {
        let rig = harness.start(Lab::new().routes(), StartOptions::default()).await.unwrap();
        let first = rig.live();
        assert_eq!(first.connections, Some(1), "{}", harness.name());
        assert!(first.subscriptions.unwrap() > 0, "{}", harness.name());
        let other = rig.connect_again().await.unwrap();
        assert_eq!(rig.live().connections, Some(2), "{}", harness.name());
        drop(other);
        rig.stop(Duration::ZERO).await;
        let expected = first.with_connections(1).with_subscriptions(0);
        let until = tokio::time::Instant::now() + Duration::from_secs(30);
        while rig.live() != expected {
            assert!(tokio::time::Instant::now() < until, "{:?}", rig.live());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
