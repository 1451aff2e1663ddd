//! The service mounted in an axum app, over sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rr_http::{
    HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, HttpService, HttpVersion,
};
use rr_spi::{DrainReport, Error, Requester, Routes, Server, async_trait};
use rr_testkit::conformance::{Capabilities, Harness, Live, Plan, Raw, Rig, StartOptions, Timing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::line::{Foreign, Line, Stream, Tcp, failed};
use crate::raw::Peer;
use crate::rig::configs;

/// One version of HTTP to an axum app that has the service as its fallback.
pub(crate) struct Mounted {
    name: &'static str,
    version: HttpVersion,
    parallel_max: usize,
}

impl Mounted {
    pub(crate) fn axum(version: HttpVersion) -> Self {
        let (name, parallel_max) = match version {
            HttpVersion::H2c => ("http (h2c, in axum)", crate::STREAMS_MAX),
            _ => ("http (h1, in axum)", 200),
        };
        Self { name, version, parallel_max }
    }

    /// All that the bare server does, but for what `axum::serve` decides about connections.
    pub(crate) fn plan(version: HttpVersion) -> Plan {
        let stalled = "axum::serve has no write timeout";
        let plan = Plan::v1().known_failing("size/peers_that_take_nothing_are_ended", stalled);
        if version != HttpVersion::H2c {
            return plan;
        }
        let list = "axum::serve leaves HTTP/2 header lists at 16 KiB, with 32 bytes for each entry";
        plan.known_failing("headers/64_entries_16_kib", list)
            .known_failing("headers/too_many_refused", list)
            .known_failing("headers/too_many_of_a_foreign_peer_refused", list)
    }
}

#[async_trait]
impl Harness for Mounted {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_link(false)
            .with_cut(false)
            .with_restart(false)
            .with_parallel_max(self.parallel_max)
    }

    fn timing(&self) -> Timing {
        Timing::real()
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let (config, client_config) = configs(options, self.version, self.parallel_max);
        let service = HttpService::new(routes, config);
        let app = Arc::new(App::start(service.clone()).await.map_err(failed)?);
        let requester = Arc::new(app.requester(client_config.clone())?);
        Ok(Box::new(Running { app, service, client_config, requester, others: Mutex::default() }))
    }
}

/// How often something is asked for that no event tells of.
const LOOK: Duration = Duration::from_millis(1);

/// How long the app's server may take to end, and the end of a connection to reach the other end.
const NEWS: Duration = Duration::from_secs(5);

/// An axum app on a port of the loopback interface.
struct App {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Dropped or sent into, it ends the server.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    server: JoinHandle<()>,
    foreign: Tcp,
}

impl App {
    async fn start(service: HttpService) -> io::Result<Self> {
        let app = Router::new().route("/", get(async || "a page")).fallback_service(service);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let counted = Counting { listener, connections: Arc::clone(&connections) };
        let server = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            axum::serve(counted, app).with_graceful_shutdown(stopped).await.unwrap();
        });
        let stop = Mutex::new(Some(stop));
        Ok(Self { address, connections, stop, server, foreign: Tcp::default() })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[async_trait]
impl Line for App {
    async fn serve(
        &self,
        _: Routes,
        _: HttpServerConfig,
    ) -> Result<(Server, HttpServerStats), Error> {
        panic!("the app serves already")
    }

    fn requester(&self, config: HttpConfig) -> Result<HttpRequester, Error> {
        HttpRequester::new(&format!("http://{}", self.address), config)
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(TcpStream::connect(self.address).await?))
    }

    async fn foreign(&self, config: HttpConfig, server: Foreign) -> Result<HttpRequester, Error> {
        self.foreign.foreign(config, server).await
    }

    fn connections(&self) -> Option<usize> {
        Some(self.connections.load(Ordering::SeqCst))
    }

    async fn end(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = async {
            while !self.server.is_finished() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(NEWS, ended).await;
    }
}

struct Running {
    app: Arc<App>,
    service: HttpService,
    client_config: HttpConfig,
    requester: Arc<HttpRequester>,
    others: Mutex<Vec<Weak<HttpRequester>>>,
}

impl Running {
    /// Counts the connections that the requesters believe to be open.
    fn believed(&self) -> usize {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let others = others.iter().filter_map(Weak::upgrade);
        self.requester.connections() + others.map(|other| other.connections()).sum::<usize>()
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.requester) as _
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        let other = Arc::new(self.app.requester(self.client_config.clone())?);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.push(Arc::downgrade(&other));
        Ok(other)
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        let report = self.service.shutdown(grace).await;
        self.app.end().await;
        let heard = async {
            while self.believed() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(NEWS, heard).await;
        report
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        Some(Arc::new(Peer::new(Arc::clone(&self.app) as _, self.client_config.clone())))
    }

    fn live(&self) -> Live {
        let there = self.app.connections.load(Ordering::SeqCst);
        Live::default()
            .with_pending(self.requester.in_flight())
            .with_in_flight(self.service.in_flight())
            .with_connections(there.max(self.believed()))
    }
}

/// Listener that counts its connections.
struct Counting {
    listener: TcpListener,
    connections: Arc<AtomicUsize>,
}

impl axum::serve::Listener for Counting {
    type Io = Counted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Counted, SocketAddr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        self.connections.fetch_add(1, Ordering::SeqCst);
        (Counted { stream, connections: Arc::clone(&self.connections) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Connection that is counted while it is open.
struct Counted {
    stream: TcpStream,
    connections: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
