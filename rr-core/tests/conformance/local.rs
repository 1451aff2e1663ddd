//! `Local`: both ends at once, in this process.

use std::sync::Arc;
use std::time::Duration;

use rr_core::transport::{Intake, Routes};
use rr_core::{DrainReport, Error, Local, Requester, Server, async_trait};
use rr_testkit::conformance::{Capabilities, Harness, Live, Rig, StartOptions, Timing, Typed};

use crate::typed::typed;

/// `Local`, in virtual time.
pub(crate) struct InProcess;

#[async_trait]
impl Harness for InProcess {
    fn name(&self) -> &str {
        "local"
    }

    fn capabilities(&self) -> Capabilities {
        let there = Capabilities::default().with_client_config(false).with_cut(false);
        there.with_link(false).with_raw(false).with_restart(false).with_typed(true)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn typed(&self) -> Option<Typed> {
        Some(typed())
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let local = Local::with_config(routes, options.server);
        let intake: Intake = local.intake().clone();
        // `Local` is drained through its intake; the server's handle does it as on a wire.
        let server = Server::spawn("local".into(), intake.clone(), |shutdown| async move {
            shutdown.draining().await;
            intake.idle().await;
        });
        Ok(Box::new(Running { local, server }))
    }
}

struct Running {
    local: Local,
    server: Server,
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.local.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(self.requester())
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server.shutdown(grace).await
    }

    fn live(&self) -> Live {
        Live::default().with_in_flight(self.local.intake().in_flight())
    }
}
