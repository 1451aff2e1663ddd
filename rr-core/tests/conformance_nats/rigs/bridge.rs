//! `Forward` from HTTP to NATS: callers over HTTP/1.1, a bridge, a nats-server, and a responder.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rr_core::config::IntakeConfig;
use rr_core::transport::Routes;
use rr_core::{Context, DrainReport, Error, Forward, Requester, Router, Server, async_trait};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats};
use rr_nats::{NatsConfig, NatsRequester, NatsServerConfig, NatsServerStats, NatsState};
use rr_testkit::conformance::{
    Capabilities, Capability, Case, Harness, Live, Plan, Raw, Rig, StartOptions, Typed, cases,
};
use rr_testkit::{Direction, NatsServer, TcpProxy};

use super::raw::Peers;
use crate::bridge_plan;
use crate::typed::typed;

/// Which side of the bridge is drained, cut off and restarted. What a case configures of the server
/// is always the responder's, where the handlers are.
#[derive(Clone, Copy)]
pub(crate) enum Bridge {
    /// The bridge, which is all that callers see; its line to them is tried where HTTP is.
    Front,
    /// Its line to the nats-server, and the responder behind that.
    Back,
}

/// Most calls in flight: each has a connection to itself, which takes two descriptors.
const PARALLEL_MAX: usize = 200;

/// How often something is asked for that no event tells of.
const LOOK: Duration = Duration::from_millis(1);

/// How long the end of a connection may take to reach its other end.
const NEWS: Duration = Duration::from_secs(5);

impl Bridge {
    /// Returns the plan of its suite.
    pub(crate) fn plan(self) -> Plan {
        match self {
            Self::Front => bridge_plan::front().skip(
                "errors/malformed_reply_is_bad_response",
                "every message is a reply over NATS, whatever its bytes are",
            ),
            Self::Back => behind(bridge_plan::back()),
        }
    }
}

/// Only what stops, cuts or restarts something, and what does more where the link can be cut.
fn behind(plan: Plan) -> Plan {
    let needed = [Capability::Cut, Capability::Drain, Capability::Link, Capability::Restart];
    let needed = needed.map(Some);
    let needs = |case: &&Case| needed.contains(&case.needs());
    let plan = plan.only("delivery/*").only("deadline/default_applies");
    cases().iter().filter(needs).fold(plan, |plan, case| plan.only(case.name()))
}

#[async_trait]
impl Harness for Bridge {
    fn name(&self) -> &str {
        match self {
            Self::Front => "forward (http to nats, front)",
            Self::Back => "forward (http to nats, back)",
        }
    }

    fn capabilities(&self) -> Capabilities {
        let is_back = matches!(self, Self::Back);
        Capabilities::default()
            .with_link(is_back)
            .with_cut(is_back)
            .with_restart(is_back)
            .with_typed(true)
            .with_parallel_max(PARALLEL_MAX)
    }

    fn typed(&self) -> Option<Typed> {
        Some(typed())
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        // Either side may be the one that is stopped.
        let lame_duck = IntakeConfig::default().with_lame_duck(options.server.lame_duck);
        let back = Back::start(routes, NatsServerConfig::default().with_intake(options.server));
        let back = back.await?;
        let client =
            HttpConfig::default().with_connections_max(PARALLEL_MAX).with_calls(options.calls);
        let grant = HttpServerConfig::default().with_write_timeout(options.write_timeout);
        let grant = grant.with_intake(lame_duck);
        let front = Front::start(Arc::clone(&back.requester), grant, client).await?;
        Ok(Box::new(Running { side: *self, front, back }))
    }
}

struct Running {
    side: Bridge,
    front: Front,
    back: Back,
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.front.requester) as _
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        self.front.connect_again()
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        match self.side {
            Bridge::Front => self.front.stop(grace).await,
            Bridge::Back => self.back.stop(grace).await,
        }
    }

    async fn kill_link(&self) {
        self.back.cut().await;
    }

    async fn cut_after(&self, direction: Direction, bytes: u64) {
        self.back.to_requester.cut_after(direction, bytes);
    }

    async fn restore_link(&self) {
        self.back.to_requester.restore();
    }

    async fn restart(&self) -> Result<(), Error> {
        self.back.restart().await
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        let front = self.front.server.url().trim_start_matches("http://").to_owned();
        Some(Arc::new(Peers { front, broker: self.back.broker.address() }))
    }

    fn live(&self) -> Live {
        let pending = self.front.requester.in_flight() + self.back.requester.nats_stats().in_flight;
        Live::default()
            .with_in_flight(self.front.server.in_flight() + self.back.in_flight())
            .with_pending(pending)
            .with_connections(self.front.stats.connections().max(self.front.believed()))
    }
}

/// The bridge and its callers.
pub(crate) struct Front {
    server: Server,
    stats: HttpServerStats,
    config: HttpConfig,
    pub(crate) requester: Arc<HttpRequester>,
    /// Those that the case has made besides, as long as it holds them.
    others: Mutex<Vec<Weak<HttpRequester>>>,
}

impl Front {
    /// Makes a bridge to whoever answers at a URL of NATS.
    pub(crate) async fn to(url: &str) -> Result<Self, Error> {
        let onward = NatsRequester::connect(url).await?;
        onward.ready(&Context::background()).await?;
        let (grant, client) = (HttpServerConfig::default(), HttpConfig::default());
        Self::start(Arc::new(onward), grant, client).await
    }

    async fn start(
        onward: Arc<NatsRequester>,
        grant: HttpServerConfig,
        config: HttpConfig,
    ) -> Result<Self, Error> {
        let onward = || Forward(Arc::clone(&onward));
        let router = Router::new().service("lab", onward()).fallback(onward());
        let (server, stats) =
            rr_http::serve_with_stats("http://127.0.0.1:0", router, grant).await?;
        let requester = Arc::new(HttpRequester::new(server.url(), config.clone())?);
        Ok(Self { server, stats, config, requester, others: Mutex::default() })
    }

    fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        let other = Arc::new(HttpRequester::new(self.server.url(), self.config.clone())?);
        lock(&self.others).push(Arc::downgrade(&other));
        Ok(other)
    }

    /// Counts the connections that the requesters believe to be open.
    fn believed(&self) -> usize {
        let mut others = lock(&self.others);
        others.retain(|other| other.strong_count() > 0);
        let others = others.iter().filter_map(Weak::upgrade);
        self.requester.connections() + others.map(|other| other.connections()).sum::<usize>()
    }

    /// Until the news has come, a call risks its request on a connection that is gone, and rightly
    /// says that it may have arrived.
    async fn stop(&self, grace: Duration) -> DrainReport {
        let report = self.server.shutdown(grace).await;
        let heard = async {
            while self.believed() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(NEWS, heard).await;
        report
    }
}

/// What is behind the bridge, and the bridge's requester.
struct Back {
    broker: NatsServer,
    to_requester: TcpProxy,
    to_responder: TcpProxy,
    routes: Routes,
    config: NatsServerConfig,
    /// `None` while one has died and the next is not there yet.
    serving: Mutex<Option<Arc<(Server, NatsServerStats)>>>,
    requester: Arc<NatsRequester>,
}

impl Back {
    async fn start(routes: Routes, config: NatsServerConfig) -> Result<Self, Error> {
        let broker = NatsServer::start().await.expect("a nats-server starts");
        let to_requester = TcpProxy::start(broker.address()).await.expect("a proxy starts");
        let to_responder = TcpProxy::start(broker.address()).await.expect("a proxy starts");
        let serving = serve(&to_responder, &routes, &config).await?;
        let (near, defaults) = (url(&to_requester), NatsConfig::default());
        let requester = Arc::new(NatsRequester::connect_with(&near, defaults).await?);
        requester.ready(&Context::background()).await?;
        let serving = Mutex::new(Some(Arc::new(serving)));
        Ok(Self { broker, to_requester, to_responder, routes, config, serving, requester })
    }

    fn serving(&self) -> Option<Arc<(Server, NatsServerStats)>> {
        lock(&self.serving).clone()
    }

    fn in_flight(&self) -> usize {
        self.serving().map_or(0, |serving| serving.0.in_flight())
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        match self.serving() {
            Some(serving) => serving.0.shutdown(grace).await,
            None => DrainReport::default(),
        }
    }

    /// Until the news has come, a call risks its request, and rightly says so.
    async fn cut(&self) {
        self.to_requester.cut_and_refuse();
        while self.requester.state() == NatsState::Connected {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The line is cut before: a responder that is dropped would still answer some of its calls.
    async fn restart(&self) -> Result<(), Error> {
        self.to_responder.cut_and_refuse();
        let died = lock(&self.serving).take();
        if let Some(died) = died {
            let stats = died.1.clone();
            drop(died);
            while stats.tasks() > 0 || self.to_responder.connections() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
        self.to_responder.restore();
        let serving = serve(&self.to_responder, &self.routes, &self.config).await?;
        *lock(&self.serving) = Some(Arc::new(serving));
        Ok(())
    }
}

async fn serve(
    way: &TcpProxy,
    routes: &Routes,
    config: &NatsServerConfig,
) -> Result<(Server, NatsServerStats), Error> {
    rr_nats::serve_with_stats(&url(way), routes.clone(), config.clone()).await
}

fn url(way: &TcpProxy) -> String {
    format!("nats://{}/case", way.address())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
