//! A server and requesters that reach it by a line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats};
use rr_spi::{DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::conformance::{Live, Raw, Rig};

use crate::line::Line;
use crate::raw::Peer;

pub(crate) struct Running {
    line: Arc<dyn Line>,
    routes: Routes,
    server_config: HttpServerConfig,
    /// `None` while one has died and the next is not there yet.
    server: Mutex<Option<Arc<Serving>>>,
    client_config: HttpConfig,
    requester: HttpRequester,
}

struct Serving {
    server: Server,
    stats: HttpServerStats,
}

/// How often a server that was dropped is asked whether it has gone.
const LOOK: Duration = Duration::from_millis(1);

impl Running {
    pub(crate) async fn start(
        line: Arc<dyn Line>,
        routes: Routes,
        server_config: HttpServerConfig,
        client_config: HttpConfig,
    ) -> Result<Self, Error> {
        let (server, stats) = line.serve(routes.clone(), server_config.clone()).await?;
        let requester = line.requester(client_config.clone())?;
        let server = Mutex::new(Some(Arc::new(Serving { server, stats })));
        Ok(Self { line, routes, server_config, server, client_config, requester })
    }

    fn serving(&self) -> Option<Arc<Serving>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.requester.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(Arc::new(self.line.requester(self.client_config.clone())?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        match self.serving() {
            Some(serving) => serving.server.shutdown(grace).await,
            None => DrainReport::default(),
        }
    }

    async fn kill_link(&self) {
        self.line.kill().await;
    }

    async fn restore_link(&self) {
        self.line.restore();
    }

    async fn restart(&self) -> Result<(), Error> {
        let died = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(died) = died {
            let stats = died.stats.clone();
            drop(died);
            while stats.connections() > 0 || stats.tasks() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
        let (routes, config) = (self.routes.clone(), self.server_config.clone());
        let (server, stats) = self.line.serve(routes, config).await?;
        let serving = Some(Arc::new(Serving { server, stats }));
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = serving;
        Ok(())
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        Some(Arc::new(Peer::new(Arc::clone(&self.line), self.client_config.clone())))
    }

    fn live(&self) -> Live {
        let live = Live::default().with_pending(self.requester.in_flight());
        let Some(serving) = self.serving() else { return live };
        let connections = self.line.connections().unwrap_or_else(|| serving.stats.connections());
        live.with_in_flight(serving.server.in_flight()).with_connections(connections)
    }
}
