//! A real server of a service, and the lines to it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{
    Code, Context, Delivery, Error, IntakeConfig, Location, Request, Requester, Routes, Server,
    Target,
};
use tokio::sync::OnceCell;

use super::carrier::Carrier;
use super::tap::Tap;
use crate::sync::lock;

/// Any free port of the loopback interface.
pub(super) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Target that no service of a network has.
const NO_TARGET: &str = "world.none";

/// Grace of a drain that the test ends by dropping the server.
const GRACE: Duration = Duration::from_secs(600);

/// Running server. All of its traffic passes a tap, which cuts it off when the server crashes.
pub(super) struct Serving {
    name: String,
    carrier: Arc<dyn Carrier>,
    /// Between the lines and the server, or between the broker and the server.
    front: Tap,
    /// Address at which the lines end.
    entry: SocketAddr,
    /// `None` after a crash.
    server: Mutex<Option<Arc<Server>>>,
    /// The line of each caller.
    lines: Mutex<HashMap<String, Arc<OnceCell<Arc<Line>>>>>,
}

/// Connections of one caller, or of one message, to a server.
pub(super) struct Line {
    pub(super) tap: Tap,
    pub(super) requester: Arc<dyn Requester>,
}

impl Serving {
    pub(super) async fn start(
        carrier: &Arc<dyn Carrier>,
        routes: Routes,
        config: IntakeConfig,
    ) -> Result<Self, Error> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let name = format!("world-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let (front, entry, server) = match carrier.broker() {
            Some(broker) => {
                let front = tap(broker, 1).await?;
                let server = carrier.serve(&name, front.address(), routes, config).await?;
                (front, broker, server)
            }
            None => {
                let server = carrier.serve(&name, ANY_PORT, routes, config).await?;
                let front = tap(address_of(&server)?, 1).await?;
                let entry = front.address();
                (front, entry, server)
            }
        };
        let (carrier, server) = (Arc::clone(carrier), Mutex::new(Some(Arc::new(server))));
        Ok(Self { name, carrier, front, entry, server, lines: Mutex::default() })
    }

    /// Makes a line with separate connections, each to as many copies as given.
    pub(super) async fn line(&self, copies: usize) -> Result<Arc<Line>, Error> {
        let tap = tap(self.entry, copies).await?;
        let requester = self.carrier.connect(&self.name, tap.address()).await?;
        // The refusal of a first request shows that the connection carries requests: over HTTP/2 a
        // connection is made before the server has said a word.
        let first = Request::new(Target::parse(NO_TARGET)?, "");
        let _ = requester.request(&Context::background(), first).await;
        Ok(Arc::new(Line { tap, requester }))
    }

    /// Returns the line of a caller.
    pub(super) async fn line_of(&self, from: &str) -> Result<Arc<Line>, Error> {
        let line = Arc::clone(lock(&self.lines).entry(from.to_owned()).or_default());
        line.get_or_try_init(|| self.line(1)).await.cloned()
    }

    /// Ends the server as a crash does: no further byte leaves it, and its handlers are dropped.
    pub(super) fn crash(&self) {
        self.front.cut_for_good();
        let died = lock(&self.server).take();
        // Outside of the lock: it wakes the handlers.
        drop(died);
    }

    /// Begins a drain. With `to_the_end`, waits until the server has ended.
    pub(super) async fn drain(&self, to_the_end: bool) {
        let Some(server) = lock(&self.server).clone() else { return };
        let draining = server.shutdown(GRACE);
        if to_the_end {
            draining.await;
        } else {
            // The first poll begins the drain.
            let _ = crate::worlds::client::first_poll(std::pin::pin!(draining)).await;
        }
    }
}

async fn tap(upstream: SocketAddr, copies: usize) -> Result<Tap, Error> {
    Tap::start(upstream, copies).await.map_err(|error| {
        let text = format!("no proxy could be started: {error}");
        Error::failure(Code::Unavailable, Delivery::NotSent, None, text)
    })
}

fn address_of(server: &Server) -> Result<SocketAddr, Error> {
    let url = Location::parse(server.url())?;
    url.authority().parse().map_err(|_| {
        let text = format!("the URL `{}` of the server has no IP address and port", server.url());
        Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text)
            .with_hint("a carrier serves at the address that it is given")
    })
}
