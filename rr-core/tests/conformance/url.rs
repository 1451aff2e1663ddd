//! Both ends by URL over a real wire, for what this crate adds to it: typed calls, and the
//! suppression of duplicates.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use rr_core::transport::Routes;
use rr_core::{
    Client, Context, DrainReport, Error, Requester, Router, Server, async_trait, connect,
    serve_with,
};
use rr_testkit::conformance::{
    Capabilities, Capability, Case, Live, Plan, Rig, StartOptions, cases,
};

/// Returns what a rig by URL can do.
pub(crate) fn capabilities() -> Capabilities {
    let there = Capabilities::default().with_client_config(false).with_cut(false);
    there.with_link(false).with_raw(false).with_restart(false).with_typed(true).with_dedup(true)
}

/// Only what needs what this crate adds: the rest is tried where the transport is.
pub(crate) fn added() -> Plan {
    let adds = [Capability::Typed, Capability::Dedup].map(Some);
    let needs_it = |case: &&Case| adds.contains(&case.needs());
    cases().iter().filter(needs_it).fold(Plan::v1(), |plan, case| plan.only(case.name()))
}

/// A server at a URL, and clients of it.
pub(crate) struct Ends {
    client: Client,
    server: Server,
    /// What they run over, where that is not there by itself.
    _beneath: Box<dyn Any + Send + Sync>,
}

impl Ends {
    pub(crate) async fn start(
        url: &str,
        routes: Routes,
        options: StartOptions,
        beneath: impl Any + Send + Sync,
    ) -> Result<Self, Error> {
        let server = serve_with(url, Router::new().merge(routes), options.server).await?;
        let client = connected(&server).await?;
        Ok(Self { client, server, _beneath: Box::new(beneath) })
    }
}

async fn connected(server: &Server) -> Result<Client, Error> {
    let client = connect(server.url()).await?;
    client.ready(&Context::background()).await?;
    Ok(client)
}

#[async_trait]
impl Rig for Ends {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.client.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(connected(&self.server).await?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server.shutdown(grace).await
    }

    fn live(&self) -> Live {
        Live::default().with_in_flight(self.server.in_flight())
    }
}
