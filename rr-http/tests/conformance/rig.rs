//! A server and requesters that reach it by a line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, HttpVersion};
use rr_spi::{DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::Direction;
use rr_testkit::conformance::{Live, Raw, Rig, StartOptions};

use crate::line::Line;
use crate::raw::Peer;

/// Returns the configurations of a server and of its requesters.
pub(crate) fn configs(
    options: StartOptions,
    version: HttpVersion,
    parallel_max: usize,
) -> (HttpServerConfig, HttpConfig) {
    let server = HttpServerConfig::default()
        .with_intake(options.server)
        .with_write_timeout(options.write_timeout);
    let client = HttpConfig::default()
        .with_version(version)
        .with_connections_max(parallel_max)
        .with_calls(options.calls);
    (server, client)
}

pub(crate) struct Running {
    line: Arc<dyn Line>,
    routes: Routes,
    server_config: HttpServerConfig,
    /// `None` while one has died and the next is not there yet.
    server: Mutex<Option<Arc<Serving>>>,
    client_config: HttpConfig,
    requester: Arc<HttpRequester>,
    /// Those that the case has made besides, as long as it holds them.
    others: Mutex<Vec<Weak<HttpRequester>>>,
}

struct Serving {
    server: Server,
    stats: HttpServerStats,
}

/// How often something is asked for that no event tells of.
const LOOK: Duration = Duration::from_millis(1);

/// How long the end of a connection may take to reach the other end.
const NEWS: Duration = Duration::from_secs(5);

impl Running {
    pub(crate) async fn start(
        line: Arc<dyn Line>,
        routes: Routes,
        server_config: HttpServerConfig,
        client_config: HttpConfig,
    ) -> Result<Self, Error> {
        let (server, stats) = line.serve(routes.clone(), server_config.clone()).await?;
        let requester = Arc::new(line.requester(client_config.clone())?);
        let server = Mutex::new(Some(Arc::new(Serving { server, stats })));
        let others = Mutex::default();
        Ok(Self { line, routes, server_config, server, client_config, requester, others })
    }

    fn serving(&self) -> Option<Arc<Serving>> {
        lock(&self.server).clone()
    }

    /// Counts the connections that the requesters believe to be open.
    fn believed(&self) -> usize {
        let mut others = lock(&self.others);
        others.retain(|other| other.strong_count() > 0);
        let others = others.iter().filter_map(Weak::upgrade);
        self.requester.connections() + others.map(|other| other.connections()).sum::<usize>()
    }

    /// Waits until the requesters know that their connections are gone. Until the news has come, a
    /// call risks its request on one, and rightly says that it may have arrived.
    async fn have_heard(&self) {
        if !self.line.is_end_to_end() {
            return;
        }
        let heard = async {
            while self.believed() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(NEWS, heard).await;
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.requester) as _
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        let other = Arc::new(self.line.requester(self.client_config.clone())?);
        lock(&self.others).push(Arc::downgrade(&other));
        Ok(other)
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        let Some(serving) = self.serving() else { return DrainReport::default() };
        let report = serving.server.shutdown(grace).await;
        self.line.end().await;
        self.have_heard().await;
        report
    }

    async fn kill_link(&self) {
        self.line.kill().await;
        self.have_heard().await;
    }

    async fn cut_after(&self, direction: Direction, bytes: u64) {
        self.line.cut_after(direction, bytes);
    }

    async fn restore_link(&self) {
        self.line.restore();
    }

    /// The link is cut before: a server that is dropped would still answer some of its calls.
    async fn restart(&self) -> Result<(), Error> {
        self.line.kill().await;
        let died = lock(&self.server).take();
        if let Some(died) = died {
            let stats = died.stats.clone();
            drop(died);
            while stats.connections() > 0 || stats.tasks() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
        let (routes, config) = (self.routes.clone(), self.server_config.clone());
        let (server, stats) = self.line.serve(routes, config).await?;
        *lock(&self.server) = Some(Arc::new(Serving { server, stats }));
        self.line.restore();
        Ok(())
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        Some(Arc::new(Peer::new(Arc::clone(&self.line), self.client_config.clone())))
    }

    fn live(&self) -> Live {
        let mut live = Live::default().with_pending(self.requester.in_flight());
        let serving = self.serving();
        if let Some(serving) = &serving {
            live = live.with_in_flight(serving.server.in_flight());
        }
        if !self.line.is_end_to_end() {
            return live;
        }
        let there = serving.map_or(0, |serving| {
            self.line.connections().unwrap_or_else(|| serving.stats.connections())
        });
        live.with_connections(there.max(self.believed()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
