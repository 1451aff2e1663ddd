//! The in-memory transport, started for the suite.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{DrainReport, Error, Requester, Routes, async_trait};
use rr_testkit::conformance::{Capabilities, Harness, Live, Rig, StartOptions, Timing};
use rr_testkit::{Loopback, MemoryConfig, loopback_with};

pub(crate) struct Memory;

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_link(false).with_raw(false).with_restart(false)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let client = MemoryConfig::default()
            .with_timeout_default(options.client_timeout)
            .with_limits(options.client_limits);
        Ok(Box::new(Running(loopback_with(routes, options.server, client))))
    }
}

struct Running(Loopback);

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.0.requester())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(self.requester())
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.0.server().shutdown(grace).await
    }

    fn live(&self) -> Live {
        Live::default().with_in_flight(self.0.server().in_flight())
    }
}
