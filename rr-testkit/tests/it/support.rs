//! The in-memory transport, started for the suite.

#[path = "support/wired.rs"]
mod wired;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_spi::{
    CallConfig, DrainReport, Error, IntakeConfig, Requester, Routes, Server, async_trait,
};
use rr_testkit::conformance::{Capabilities, Harness, Live, Raw, Rig, StartOptions, Timing};
use rr_testkit::{MemoryRequester, serve_with};

use wired::Wired;

pub(crate) struct Memory;

/// Each rig has a name of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_cut(false)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let url = format!("memory://rig-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let client = options.calls;
        let requester = MemoryRequester::new(&url, client.clone())?;
        let server = Arc::new(serve_with(&url, routes.clone(), options.server.clone())?);
        let server = Mutex::new(server);
        Ok(Box::new(Running { url, routes, config: options.server, client, requester, server }))
    }
}

struct Running {
    url: String,
    routes: Routes,
    config: IntakeConfig,
    client: CallConfig,
    requester: MemoryRequester,
    server: Mutex<Arc<Server>>,
}

impl Running {
    fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.requester.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(MemoryRequester::new(&self.url, self.client.clone())?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server().shutdown(grace).await
    }

    async fn kill_link(&self) {
        self.requester.link().cut();
    }

    async fn restore_link(&self) {
        self.requester.link().restore();
    }

    /// Nothing gets out of the server once the link is cut: then it may end in any manner.
    async fn restart(&self) -> Result<(), Error> {
        self.requester.link().cut();
        self.server().shutdown(Duration::ZERO).await;
        let server = serve_with(&self.url, self.routes.clone(), self.config.clone())?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(server);
        self.requester.link().restore();
        Ok(())
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        Some(Arc::new(Wired::new(self.routes.clone(), self.config.clone())))
    }

    fn live(&self) -> Live {
        let link = self.requester.link();
        Live::default()
            .with_in_flight(self.server().in_flight())
            .with_pending(link.pending())
            .with_subscriptions(usize::from(link.is_served()))
    }
}
