//! A responder, and requesters that reach it by way of nats-servers.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rr_nats::{
    NatsConfig, NatsRequester, NatsServerConfig, NatsServerStats, NatsState, serve_with_stats,
};
use rr_spi::{Context, DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::conformance::{Live, Raw, Rig};
use rr_testkit::{Direction, NatsServer, TcpProxy};

use crate::raw::Peer;

/// The way from requesters to the responder.
pub(crate) struct Way {
    /// The responder is at the first one, requesters at the last.
    nodes: Vec<NatsServer>,
    proxies: Option<Proxies>,
    scheme: &'static str,
}

/// What can be cut.
struct Proxies {
    requesters: TcpProxy,
    responder: TcpProxy,
}

impl Way {
    pub(crate) fn direct(nodes: Vec<NatsServer>) -> Self {
        Self { nodes, proxies: None, scheme: "nats" }
    }

    pub(crate) async fn proxied(node: NatsServer) -> Self {
        let requesters = TcpProxy::start(node.address()).await.unwrap();
        let responder = TcpProxy::start(node.address()).await.unwrap();
        let proxies = Some(Proxies { requesters, responder });
        Self { nodes: vec![node], proxies, scheme: "nats" }
    }

    /// The same way over TLS.
    #[cfg(all(feature = "nkeys", feature = "tls"))]
    pub(crate) fn over_tls(mut self) -> Self {
        self.scheme = "nats+tls";
        self
    }

    fn responders_url(&self) -> String {
        let direct = self.nodes[0].address();
        let address = self.proxies.as_ref().map_or(direct, |proxies| proxies.responder.address());
        format!("{}://{address}/case", self.scheme)
    }

    fn requesters_url(&self) -> String {
        let direct = self.nodes[self.nodes.len() - 1].address();
        let address = self.proxies.as_ref().map_or(direct, |proxies| proxies.requesters.address());
        format!("{}://{address}/case", self.scheme)
    }

    /// Returns a foreign peer at the requesters' node.
    fn peer(&self) -> Peer {
        Peer::at(self.nodes[self.nodes.len() - 1].address())
    }

    /// Counts, as the nats-servers do, the connections of whoever is not the responder, and what the
    /// responder is subscribed to.
    fn clients(&self) -> io::Result<(usize, usize)> {
        let (mut connections, mut subscriptions) = (0, 0);
        for node in &self.nodes {
            for subjects in node.subscriptions()? {
                let served = subjects.iter().filter(|subject| is_served(subject)).count();
                connections += usize::from(served == 0);
                subscriptions += served;
            }
        }
        Ok((connections, subscriptions))
    }

    fn proxies(&self) -> &Proxies {
        self.proxies.as_ref().expect("a way that can be cut")
    }
}

/// Tells whether a subject is one that only a responder is subscribed to.
fn is_served(subject: &str) -> bool {
    ["case.", "$SRV.", "_RR.cancel."].iter().any(|prefix| subject.starts_with(prefix))
}

pub(crate) struct Running {
    routes: Routes,
    server_config: NatsServerConfig,
    /// `None` while one has died and the next is not there yet.
    serving: Mutex<Option<Arc<Serving>>>,
    client_config: NatsConfig,
    requester: Arc<NatsRequester>,
    /// Those that the case has made besides, as long as it holds them.
    others: Mutex<Vec<Weak<NatsRequester>>>,
    /// Dropped last: what ends before its server does need not notice that the server died.
    way: Way,
}

struct Serving {
    server: Server,
    stats: NatsServerStats,
}

/// How often something is asked for that no event tells of.
const LOOK: Duration = Duration::from_millis(1);

impl Running {
    pub(crate) async fn start(
        way: Way,
        routes: Routes,
        server_config: NatsServerConfig,
        client_config: NatsConfig,
    ) -> Result<Self, Error> {
        let serving = serve(&way, &routes, &server_config).await?;
        let requester = connect(&way, &client_config).await?;
        let serving = Mutex::new(Some(Arc::new(serving)));
        let others = Mutex::default();
        Ok(Self { way, routes, server_config, serving, client_config, requester, others })
    }

    fn serving(&self) -> Option<Arc<Serving>> {
        lock(&self.serving).clone()
    }

    fn requesters(&self) -> Vec<Arc<NatsRequester>> {
        let mut others = lock(&self.others);
        others.retain(|other| other.strong_count() > 0);
        let others = others.iter().filter_map(Weak::upgrade);
        others.chain([Arc::clone(&self.requester)]).collect()
    }
}

async fn serve(way: &Way, routes: &Routes, config: &NatsServerConfig) -> Result<Serving, Error> {
    let url = way.responders_url();
    let (server, stats) = serve_with_stats(&url, routes.clone(), config.clone()).await?;
    // From node to node, what the responder is subscribed to takes its time.
    way.peer().finds_a_service().await;
    Ok(Serving { server, stats })
}

async fn connect(way: &Way, config: &NatsConfig) -> Result<Arc<NatsRequester>, Error> {
    let url = way.requesters_url();
    let requester = NatsRequester::connect_with(&url, config.clone()).await?;
    requester.ready(&Context::background()).await?;
    Ok(Arc::new(requester))
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.requester) as _
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        let other = connect(&self.way, &self.client_config).await?;
        lock(&self.others).push(Arc::downgrade(&other));
        Ok(other)
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        match self.serving() {
            Some(serving) => serving.server.shutdown(grace).await,
            None => DrainReport::default(),
        }
    }

    async fn kill_link(&self) {
        self.way.proxies().requesters.cut_and_refuse();
        // Until the news has come, a call risks its request, and rightly says so.
        for requester in self.requesters() {
            while requester.state() == NatsState::Connected {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn cut_after(&self, direction: Direction, bytes: u64) {
        self.way.proxies().requesters.cut_after(direction, bytes);
    }

    async fn restore_link(&self) {
        self.way.proxies().requesters.restore();
    }

    /// It is the responder that dies.
    async fn restart(&self) -> Result<(), Error> {
        let line = &self.way.proxies().responder;
        line.cut_and_refuse();
        let died = lock(&self.serving).take();
        if let Some(died) = died {
            let stats = died.stats.clone();
            drop(died);
            while stats.tasks() > 0 || line.connections() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
        line.restore();
        let serving = serve(&self.way, &self.routes, &self.server_config).await?;
        *lock(&self.serving) = Some(Arc::new(serving));
        Ok(())
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        Some(Arc::new(self.way.peer().answering_with(self.client_config.clone())))
    }

    fn live(&self) -> Live {
        let pending = self.requester.nats_stats().in_flight;
        let serving = self.serving();
        let in_flight = serving.map_or(0, |serving| serving.server.in_flight());
        let live = Live::default().with_in_flight(in_flight).with_pending(pending);
        // No case stops a node: one that does not tell would make leaks invisible.
        let clients = self.way.clients().expect("the nats-server tells who is connected");
        live.with_connections(clients.0).with_subscriptions(clients.1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
