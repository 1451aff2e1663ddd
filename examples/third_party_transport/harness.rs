//! What the conformance suite is told of the transport: how to start it and to get at its link.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{
    Code, Delivery, DrainReport, Error, IntakeConfig, Location, Requester, Routes, Server,
    async_trait,
};
use rr_testkit::conformance::{Capabilities, Harness, Live, Plan, Raw, Rig, StartOptions};
use rr_testkit::{Direction, TcpProxy};

use crate::raw::RawPeer;
use crate::requester::{FramedRequester, address};
use crate::server::serve;

/// Calls at once that the suite tries. With a connection for each, a thousand that begin in the
/// same instant overflow the queue of connections that a system keeps for a listener.
const PARALLEL_MAX: usize = 256;

/// Starts the transport for a case.
pub(crate) struct Framed;

/// What is expected of the transport: every case, without exceptions.
pub(crate) fn plan() -> Plan {
    Plan::v1()
}

#[async_trait]
impl Harness for Framed {
    fn name(&self) -> &str {
        "framed"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_parallel_max(PARALLEL_MAX)
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let server = serve("framed://127.0.0.1:0", routes.clone(), options.server.clone()).await?;
        let proxy = TcpProxy::start(socket(&server)?).await.map_err(failed)?;
        let url = format!("framed://{}", proxy.address());
        let client = FramedRequester::new(&url, options.calls)?;
        let server = Mutex::new(Arc::new(server));
        Ok(Box::new(Running { routes, config: options.server, server, proxy, client }))
    }
}

/// A server, a proxy before it, and a requester that goes through the proxy.
struct Running {
    routes: Routes,
    config: IntakeConfig,
    server: Mutex<Arc<Server>>,
    proxy: TcpProxy,
    client: FramedRequester,
}

impl Running {
    fn server(&self) -> MutexGuard<'_, Arc<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(self.client.clone())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        // Clones share nothing: each call has a connection of its own.
        Ok(self.requester())
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        let server = Arc::clone(&*self.server());
        server.shutdown(grace).await
    }

    async fn kill_link(&self) {
        self.proxy.cut_and_refuse();
        while self.proxy.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn cut_after(&self, direction: Direction, bytes: u64) {
        self.proxy.cut_after(direction, bytes);
    }

    async fn restore_link(&self) {
        self.proxy.restore();
    }

    async fn restart(&self) -> Result<(), Error> {
        // Behind a link that is dead, nobody hears what the server answers while it goes.
        self.kill_link().await;
        let old = Arc::clone(&*self.server());
        old.shutdown(Duration::ZERO).await;
        let new = serve(old.url(), self.routes.clone(), self.config.clone()).await?;
        *self.server() = Arc::new(new);
        self.restore_link().await;
        Ok(())
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        let server = socket(&self.server()).ok()?;
        Some(Arc::new(RawPeer { address: self.proxy.address(), server }))
    }

    fn live(&self) -> Live {
        let live = Live::default().with_in_flight(self.server().in_flight());
        live.with_connections(self.proxy.connections())
    }
}

fn socket(server: &Server) -> Result<SocketAddr, Error> {
    address(&Location::parse(server.url())?)?.parse().map_err(failed)
}

/// Tells the suite what kept the rig from doing what it was asked to.
pub(crate) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = "the rig does not work";
    Error::failure(Code::Unavailable, Delivery::NotSent, None, text).with_source(error)
}
