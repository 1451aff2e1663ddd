//! NATS by URL, for what this crate adds to it.

use std::sync::Arc;
use std::time::Duration;

use rr_core::transport::Routes;
use rr_core::{Error, Middleware, async_trait};
use rr_testkit::NatsServer;
use rr_testkit::conformance::{Capabilities, Harness, Rig, StartOptions, Typed};

use crate::dedup::deduplicate;
use crate::typed::typed;
use crate::url::{self, Ends};

/// NATS by URL.
pub(crate) struct ByUrl;

#[async_trait]
impl Harness for ByUrl {
    fn name(&self) -> &str {
        "nats (by URL)"
    }

    fn capabilities(&self) -> Capabilities {
        url::capabilities()
    }

    fn typed(&self) -> Option<Typed> {
        Some(typed())
    }

    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        deduplicate(ttl)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let broker = NatsServer::start().await.expect("a nats-server starts");
        let url = format!("{}/case", broker.url());
        Ok(Box::new(Ends::start(&url, routes, options, broker).await?))
    }
}
