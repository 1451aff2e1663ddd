//! Sockets on the loopback interface, in real time.

use std::sync::Arc;
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpVersion, serve_with};
use rr_spi::{DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::conformance::{Harness, Live, Rig, StartOptions};

pub(crate) struct Tcp(pub(crate) HttpVersion);

#[async_trait]
impl Harness for Tcp {
    fn name(&self) -> &str {
        match self.0 {
            HttpVersion::H2c => "http (h2c)",
            _ => "http (h1)",
        }
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let server = serve_with("http://127.0.0.1:0", routes, super::server(&options)).await?;
        let config = super::client(self.0, &options);
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
