//! HTTP/1.1 by URL.

use std::sync::Arc;
use std::time::Duration;

use rr_core::transport::Routes;
use rr_core::{Error, Middleware, async_trait};
use rr_testkit::conformance::{Capabilities, Harness, Rig, StartOptions, Typed};

use crate::dedup::deduplicate;
use crate::typed::typed;
use crate::url::{self, Ends};

/// HTTP/1.1 by URL.
pub(crate) struct Http;

#[async_trait]
impl Harness for Http {
    fn name(&self) -> &str {
        "http (by URL)"
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
        Ok(Box::new(Ends::start("http://127.0.0.1:0", routes, options, ()).await?))
    }
}
