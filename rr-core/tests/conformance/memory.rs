//! The in-memory transport, made by hand or by URL: by itself, and below the other rigs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_core::transport::Routes;
use rr_core::{
    DrainReport, Error, Middleware, Requester, Router, Server, async_trait,
    config::{CallConfig, IntakeConfig},
    connect, serve_with,
};
use rr_testkit::conformance::{Capabilities, Harness, Live, Rig, StartOptions, Timing, Typed};
use rr_testkit::{MemoryLink, MemoryRequester};

use crate::dedup::deduplicate;
use crate::typed::typed;

/// Who makes requesters and servers over memory.
pub(crate) enum Memory {
    /// The transport's own functions, which take what a case configures.
    ByHand,
    /// `connect` and `serve_with`, as in an application.
    ByUrl,
}

/// Returns what every rig over memory can do.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities::default().with_cut(false).with_raw(false).with_typed(true)
}

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &str {
        match self {
            Self::ByHand => "memory",
            Self::ByUrl => "memory (by URL)",
        }
    }

    fn capabilities(&self) -> Capabilities {
        let is_by_hand = matches!(self, Self::ByHand);
        capabilities().with_client_config(is_by_hand).with_dedup(true)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn typed(&self) -> Option<Typed> {
        Some(typed())
    }

    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        deduplicate(ttl)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let client = match self {
            Self::ByHand => Some(client_config(&options)),
            Self::ByUrl => None,
        };
        Ok(Box::new(Ends::start(routes, options.server, client).await?))
    }
}

/// Returns what a case configures of the requester.
pub(crate) fn client_config(options: &StartOptions) -> CallConfig {
    options.calls.clone()
}

/// A server under a name of its own, and requesters of it.
pub(crate) struct Ends {
    url: String,
    routes: Routes,
    config: IntakeConfig,
    /// `None` when both ends are made by URL.
    client: Option<CallConfig>,
    requester: Arc<dyn Requester>,
    link: MemoryLink,
    server: Mutex<Arc<Server>>,
}

impl Ends {
    pub(crate) async fn start(
        routes: Routes,
        config: IntakeConfig,
        client: Option<CallConfig>,
    ) -> Result<Self, Error> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let url = format!("memory://rig-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let link = MemoryRequester::new(&url, CallConfig::default())?.link();
        let requester = requester(&url, client.as_ref()).await?;
        let server = server(&url, routes.clone(), config.clone(), client.as_ref()).await?;
        let server = Mutex::new(Arc::new(server));
        Ok(Self { url, routes, config, client, requester, link, server })
    }

    fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn requester(url: &str, by_hand: Option<&CallConfig>) -> Result<Arc<dyn Requester>, Error> {
    Ok(match by_hand {
        Some(config) => Arc::new(MemoryRequester::new(url, config.clone())?),
        None => Arc::new(connect(url).await?),
    })
}

async fn server(
    url: &str,
    routes: Routes,
    config: IntakeConfig,
    by_hand: Option<&CallConfig>,
) -> Result<Server, Error> {
    match by_hand {
        Some(_) => rr_testkit::serve_with(url, routes, config),
        None => serve_with(url, Router::new().merge(routes), config).await,
    }
}

#[async_trait]
impl Rig for Ends {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.requester)
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        requester(&self.url, self.client.as_ref()).await
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server().shutdown(grace).await
    }

    async fn kill_link(&self) {
        self.link.cut();
    }

    async fn restore_link(&self) {
        self.link.restore();
    }

    /// Nothing gets out of the server once the link is cut: then it may end in any manner.
    async fn restart(&self) -> Result<(), Error> {
        self.link.cut();
        self.server().shutdown(Duration::ZERO).await;
        let (routes, config) = (self.routes.clone(), self.config.clone());
        let server = server(&self.url, routes, config, self.client.as_ref()).await?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(server);
        self.link.restore();
        Ok(())
    }

    fn live(&self) -> Live {
        Live::default()
            .with_in_flight(self.server().in_flight())
            .with_pending(self.link.pending())
            .with_subscriptions(usize::from(self.link.is_served()))
    }
}
