//! The conformance suite over the simulated network without faults, in virtual time.
//!
//! Skipped: typed calls and suppression of duplicates, which are rr-core's; a foreign peer and cuts
//! within a message, since a message travels as a whole and only between rr's ends.

#![cfg(all(feature = "conformance", feature = "worlds"))]

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{DrainReport, Error, IntakeConfig, Requester, Routes, async_trait};
use rr_testkit::conformance::{
    Capabilities, Harness, Live, Outcome, Plan, Rig, StartOptions, Timing, run_case,
};
use rr_testkit::worlds::{Network, NetworkClient};

/// Network in which a message travels for this time.
struct Simulated(Duration);

/// The default of a network.
const LATENCY: Duration = Duration::from_millis(1);

const SUB_MILLISECOND: &str = "deadline/sub_millisecond_rounds_up";

fn plan() -> Plan {
    Plan::v1().skip(SUB_MILLISECOND, "a message travels longer than the deadline of that call")
}

#[async_trait]
impl Harness for Simulated {
    fn name(&self) -> &str {
        "simulated network"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_cut(false).with_raw(false)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let network = Network::new();
        network.set_latency("test", "svc", self.0);
        let client = network.client("test", "svc").with_config(options.calls);
        let running = Running { network, routes, config: options.server, client };
        running.serve();
        Ok(Box::new(running))
    }
}

struct Running {
    network: Network,
    routes: Routes,
    config: IntakeConfig,
    client: NetworkClient,
}

impl Running {
    fn serve(&self) {
        let routes = self.routes.clone();
        self.network.serve_with("svc", self.config.clone(), move || routes.clone());
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.client.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(self.requester())
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.network.drain("svc", grace).await
    }

    async fn kill_link(&self) {
        self.network.cut("test", "svc");
    }

    async fn restore_link(&self) {
        self.network.restore("test", "svc");
    }

    async fn restart(&self) -> Result<(), Error> {
        self.network.cut("test", "svc");
        self.network.drain("svc", Duration::ZERO).await;
        self.serve();
        self.network.restore("test", "svc");
        Ok(())
    }

    fn live(&self) -> Live {
        Live::default().with_in_flight(self.network.in_flight())
    }
}

rr_testkit::conformance!(Simulated(LATENCY), plan());

#[test]
fn without_latency_a_deadline_below_a_millisecond_holds() {
    assert_eq!(run_case(Simulated(Duration::ZERO), SUB_MILLISECOND), Outcome::Passed);
}
