//! The conformance suite over a bridge from HTTP to NATS, in real time.
//!
//! Skipped: what cuts the link, kills the server or speaks below the API, which the rigs of the two
//! transports do. What a bridge cannot do is known to fail, and must.
#![allow(clippy::unwrap_used, reason = "a harness of tests, outside of any test function")]

use std::sync::Arc;
use std::time::Duration;

use rr_core::{
    Context, DrainReport, Error, Forward, Requester, Router, Routes, Server, async_trait,
};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_nats::{NatsConfig, NatsRequester, NatsServerConfig};
use rr_testkit::NatsServer;
use rr_testkit::conformance::{
    Capabilities, Card, Harness, Live, Plan, Rig, StartOptions, check_cards,
};

struct Bridge;

/// Most calls in flight: each has a connection to itself, which means two descriptors.
const PARALLEL_MAX: usize = 200;

#[async_trait]
impl Harness for Bridge {
    fn name(&self) -> &str {
        "bridge (HTTP to NATS)"
    }

    fn capabilities(&self) -> Capabilities {
        let there = Capabilities::default().with_link(false).with_restart(false).with_raw(false);
        there.with_parallel_max(PARALLEL_MAX)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let broker = NatsServer::start().await.unwrap();
        let url = format!("{}/case", broker.url());
        let behind = NatsServerConfig::default().with_intake(&options.server);
        let behind = rr_nats::serve_with(&url, routes, behind).await?;
        let onward = NatsRequester::connect_with(&url, NatsConfig::default()).await?;
        onward.ready(&Context::background()).await?;
        let front = HttpServerConfig::default().with_intake(&options.server);
        let routes = Router::new().fallback(Forward(onward));
        let front = rr_http::serve_with("http://127.0.0.1:0", routes, front).await?;
        let config = HttpConfig::default()
            .with_connections_max(PARALLEL_MAX)
            .with_timeout(options.client_timeout)
            .with_request_bytes_max(options.client_limits.request_bytes_max)
            .with_response_bytes_max(options.client_limits.response_bytes_max);
        let requester = Arc::new(HttpRequester::new(front.url(), config.clone())?);
        Ok(Box::new(Running { front, config, requester, behind, _broker: broker }))
    }
}

struct Running {
    front: Server,
    config: HttpConfig,
    requester: Arc<HttpRequester>,
    behind: Server,
    _broker: NatsServer,
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.requester) as _
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(HttpRequester::new(self.front.url(), self.config.clone())?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.front.shutdown(grace).await
    }

    fn live(&self) -> Live {
        let pending = self.requester.in_flight();
        let in_flight = self.front.in_flight() + self.behind.in_flight();
        Live::default().with_in_flight(in_flight).with_pending(pending)
    }
}

fn plan() -> Plan {
    let cannot = [
        ("deadline/default_applies", "a bridge that gives up does not know how far the call got"),
        ("deadline/server_clamp", "a bridge that gives up does not know how far the call got"),
        ("drain/grace_exceeded_cancels", "the server behind is not the one that is drained"),
    ];
    cannot.into_iter().fold(Plan::v1(), |plan, (case, why)| plan.known_failing(case, why))
}

rr_testkit::conformance!(Bridge, plan());

#[test]
fn the_card_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/BRIDGE.md");
    check_cards(file, &[Card::of(&Bridge, &plan())]);
}
