//! The conformance suite with `Deduplicate`, by default settings, around the lab's routes in memory;
//! and its cases about duplicates, in memory and over HTTP.
//!
//! Skipped around the whole suite: a wire below the API and a server that dies, which this rig does
//! not have, and the cases about duplicates, which bring a middleware of their own.

use std::sync::Arc;
use std::time::Duration;

use rr_core::dedup::{Deduplicate, MemoryStore, MemoryStoreConfig};
use rr_core::{DrainReport, Error, Middleware, Requester, Routes, Server, async_trait};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_testkit::conformance::{Capabilities, Harness, Live, Plan, Rig, StartOptions, Timing};
use rr_testkit::{Loopback, MemoryConfig, loopback_with};

/// Everything in memory passes through the middleware.
struct Around;

/// The middleware comes with the cases.
struct Memory;

/// As [`Memory`], over sockets.
struct Http;

fn memory(routes: Routes, options: StartOptions) -> Box<dyn Rig> {
    let client = MemoryConfig::default()
        .with_timeout_default(options.client_timeout)
        .with_limits(options.client_limits);
    Box::new(InMemory(loopback_with(routes, options.server, client)))
}

fn deduplicate(ttl: Duration) -> Option<Arc<dyn Middleware>> {
    let store = MemoryStore::new(MemoryStoreConfig::default().with_ttl(ttl));
    Some(Arc::new(Deduplicate::new(store)))
}

/// Only the cases about duplicates.
fn duplicates() -> Plan {
    Plan::v1().only("idempotency/*")
}

#[async_trait]
impl Harness for Around {
    fn name(&self) -> &str {
        "memory, deduplicating"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_raw(false).with_restart(false)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        Ok(memory(routes.wrap(&[Arc::new(Deduplicate::in_process())]), options))
    }
}

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_dedup(true)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        deduplicate(ttl)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        Ok(memory(routes, options))
    }
}

#[async_trait]
impl Harness for Http {
    fn name(&self) -> &str {
        "http"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_dedup(true)
    }

    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        deduplicate(ttl)
    }

    async fn start(&self, routes: Routes, _: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let config = HttpServerConfig::default();
        let server = rr_http::serve_with("http://127.0.0.1:0", routes, config).await?;
        let requester = HttpRequester::new(server.url(), HttpConfig::default())?;
        Ok(Box::new(OverHttp { server, requester: Arc::new(requester) }))
    }
}

struct InMemory(Loopback);

#[async_trait]
impl Rig for InMemory {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.0.requester())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(self.requester())
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.0.server().shutdown(grace).await
    }

    async fn kill_link(&self) {
        self.0.link().cut();
    }

    async fn restore_link(&self) {
        self.0.link().restore();
    }

    fn live(&self) -> Live {
        let pending = self.0.link().pending();
        Live::default().with_in_flight(self.0.server().in_flight()).with_pending(pending)
    }
}

struct OverHttp {
    server: Server,
    requester: Arc<HttpRequester>,
}

#[async_trait]
impl Rig for OverHttp {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.requester) as _
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(HttpRequester::new(self.server.url(), HttpConfig::default())?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server.shutdown(grace).await
    }
}

mod around {
    use super::*;

    rr_testkit::conformance!(Around);
}

mod in_memory {
    use super::*;

    rr_testkit::conformance!(Memory, duplicates());
}

mod over_http {
    use super::*;

    rr_testkit::conformance!(Http, duplicates());
}
