//! The conformance suite over HTTP/1.1 and HTTP/2, in real time on the loopback interface.
//!
//! Skipped: what needs control over the link, a restart or a peer below the API.

use std::sync::Arc;
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpVersion, serve_with};
use rr_spi::{DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::conformance::{
    Capabilities, Card, Harness, Live, Plan, Rig, StartOptions, check_cards,
};

struct Http(HttpVersion);

#[async_trait]
impl Harness for Http {
    fn name(&self) -> &str {
        match self.0 {
            HttpVersion::H2c => "http (h2c)",
            _ => "http (h1)",
        }
    }

    fn capabilities(&self) -> Capabilities {
        let there = Capabilities::default().with_link(false).with_raw(false).with_restart(false);
        // What the requester's defaults allow: further calls wait for a connection or a stream.
        let config = HttpConfig::default();
        there.with_parallel_max(match self.0 {
            HttpVersion::H2c => config.h2_connections_max * config.h2_streams_max,
            _ => config.connections_max,
        })
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let granted = options.server;
        let server = HttpServerConfig::default()
            .with_in_flight_max(granted.in_flight_max)
            .with_timeout_default(granted.timeout_default)
            .with_timeout_min(granted.timeout_min)
            .with_timeout_max(granted.timeout_max)
            .with_request_bytes_max(granted.limits.request_bytes_max)
            .with_response_bytes_max(granted.limits.response_bytes_max);
        let config = HttpConfig::default()
            .with_version(self.0)
            .with_timeout(options.client_timeout)
            .with_request_bytes_max(options.client_limits.request_bytes_max)
            .with_response_bytes_max(options.client_limits.response_bytes_max);
        let server = serve_with("http://127.0.0.1:0", routes, server).await?;
        let requester = HttpRequester::new(server.url(), config.clone())?;
        Ok(Box::new(Running { server, requester, config }))
    }
}

struct Running {
    server: Server,
    requester: HttpRequester,
    config: HttpConfig,
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.requester.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(HttpRequester::new(self.server.url(), self.config.clone())?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server.shutdown(grace).await
    }

    fn live(&self) -> Live {
        Live::default()
            .with_in_flight(self.server.in_flight())
            .with_pending(self.requester.in_flight())
    }
}

mod h1 {
    use super::*;

    rr_testkit::conformance!(Http(HttpVersion::H1));
}

mod h2c {
    use super::*;

    rr_testkit::conformance!(Http(HttpVersion::H2c));
}

#[test]
fn the_cards_in_the_readme_are_current() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let versions = [HttpVersion::H1, HttpVersion::H2c];
    check_cards(readme, &versions.map(|version| Card::of(&Http(version), &Plan::v1())));
}
