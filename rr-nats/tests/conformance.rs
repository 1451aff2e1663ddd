//! The conformance suite over a real nats-server, one for each case.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::time::Duration;

use rr_nats::{NatsConfig, NatsRequester, NatsServerConfig, serve_with};
use rr_spi::{Context, DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::NatsServer;
use rr_testkit::conformance::{Capabilities, Harness, Live, Rig, StartOptions};

struct Nats;

#[async_trait]
impl Harness for Nats {
    fn name(&self) -> &str {
        "nats"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_link(false).with_raw(false).with_restart(false)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let broker = NatsServer::start().await.unwrap();
        let url = format!("{}/case", broker.url());
        let config = NatsServerConfig::default().with_intake(&options.server);
        let server = serve_with(&url, routes, config).await?;
        let config = NatsConfig::default()
            .with_timeout(options.client_timeout)
            .with_request_bytes_max(options.client_limits.request_bytes_max)
            .with_response_bytes_max(options.client_limits.response_bytes_max);
        let requester = connect(&server, &config).await?;
        Ok(Box::new(Running { server, requester, config, _broker: broker }))
    }
}

async fn connect(server: &Server, config: &NatsConfig) -> Result<NatsRequester, Error> {
    let requester = NatsRequester::connect_with(server.url(), config.clone()).await?;
    requester.ready(&Context::background()).await?;
    Ok(requester)
}

struct Running {
    server: Server,
    requester: NatsRequester,
    config: NatsConfig,
    _broker: NatsServer,
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.requester.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(connect(&self.server, &self.config).await?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server.shutdown(grace).await
    }

    fn live(&self) -> Live {
        let (in_flight, pending) = (self.server.in_flight(), self.requester.stats().in_flight);
        Live::default().with_in_flight(in_flight).with_pending(pending)
    }
}

rr_testkit::conformance!(Nats);
