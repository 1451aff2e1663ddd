//! Real transports under the worlds.

use std::net::SocketAddr;
use std::sync::Arc;

use rr_core::config::IntakeConfig;
use rr_core::transport::Routes;
use rr_core::{Error, Requester, Server, async_trait};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpVersion};
use rr_testkit::worlds::Carrier;

/// HTTP, with a version.
pub(crate) struct Http(pub(crate) HttpVersion);

impl Http {
    fn requester(&self, address: SocketAddr) -> Result<HttpRequester, Error> {
        let config = HttpConfig::default().with_version(self.0);
        HttpRequester::new(&format!("http://{address}"), config)
    }
}

#[async_trait]
impl Carrier for Http {
    fn name(&self) -> &str {
        if self.0 == HttpVersion::H1 { "HTTP/1.1" } else { "HTTP/2" }
    }

    async fn serve(
        &self,
        _name: &str,
        address: SocketAddr,
        routes: Routes,
        config: IntakeConfig,
    ) -> Result<Server, Error> {
        let config = HttpServerConfig::default().with_intake(config);
        rr_http::serve_with(&format!("http://{address}"), routes, config).await
    }

    async fn connect(&self, _name: &str, address: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(self.requester(address)?))
    }

    async fn connect_to_none(&self, address: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(self.requester(address)?))
    }
}

/// NATS, with a server.
#[cfg(feature = "nats")]
pub(crate) struct Nats(rr_testkit::NatsServer);

#[cfg(feature = "nats")]
impl Nats {
    pub(crate) async fn start() -> Self {
        Self(rr_testkit::NatsServer::start().await.unwrap())
    }
}

#[cfg(feature = "nats")]
#[async_trait]
impl Carrier for Nats {
    fn name(&self) -> &str {
        "NATS"
    }

    fn broker(&self) -> Option<SocketAddr> {
        Some(self.0.address())
    }

    async fn serve(
        &self,
        name: &str,
        address: SocketAddr,
        routes: Routes,
        config: IntakeConfig,
    ) -> Result<Server, Error> {
        let config = rr_nats::NatsServerConfig::default().with_intake(config);
        rr_nats::serve_with(&format!("nats://{address}/{name}"), routes, config).await
    }

    async fn connect(&self, name: &str, address: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
        let url = format!("nats://{address}/{name}");
        Ok(Arc::new(rr_nats::NatsRequester::connect(&url).await?))
    }

    /// A subject without a responder: requesters and servers are all connected to the broker.
    async fn connect_to_none(&self, _address: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
        self.connect("none", self.0.address()).await
    }
}
