//! The way from requesters to one server, with a proxy between them.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats};
use rr_spi::{Error, Routes, Server, async_trait};
use rr_testkit::{Direction, TcpProxy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::line::{Foreign, Line, Stream, Tcp, failed};
use crate::proxies::folder;
use crate::proxy::{Program, Proxy};

/// Requesters, a proxy, what cuts the connections behind it, and a server.
pub(super) struct Between {
    program: Program,
    server: Tcp,
    link: OnceLock<TcpProxy>,
    proxy: OnceLock<Running>,
    /// Proxies of foreign servers, and these servers; they end with the line.
    foreign: Mutex<(Vec<Running>, JoinSet<()>)>,
}

impl Between {
    pub(super) fn new(program: Program) -> Self {
        let (server, foreign) = (Tcp::default(), Mutex::default());
        Self { program, server, link: OnceLock::new(), proxy: OnceLock::new(), foreign }
    }

    fn link(&self) -> &TcpProxy {
        self.link.get().expect("the line serves")
    }

    fn port(&self) -> u16 {
        self.proxy.get().expect("the line serves").proxy.port
    }
}

/// A proxy and the folder of its files, which are removed with it.
struct Running {
    proxy: Proxy,
    folder: PathBuf,
}

impl Running {
    /// Starts a proxy in front of a server, on a thread that may block.
    async fn start(program: Program, server: u16) -> Result<Self, Error> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let serial = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("between-{}-{serial}", std::process::id());
        let start = move || {
            let folder = folder(&name)?;
            Ok(Self { proxy: Proxy::start(program, &folder, &[server])?, folder })
        };
        let started = tokio::task::spawn_blocking(start).await.map_err(io::Error::other);
        started
            .and_then(|started: Result<_, String>| started.map_err(io::Error::other))
            .map_err(failed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[async_trait]
impl Line for Between {
    async fn serve(
        &self,
        routes: Routes,
        config: HttpServerConfig,
    ) -> Result<(Server, HttpServerStats), Error> {
        let served = self.server.serve(routes, config).await?;
        if self.link.get().is_none() {
            let link = TcpProxy::start(self.server.address()).await.map_err(failed)?;
            let proxy = Running::start(self.program, link.address().port()).await?;
            let _ = (self.link.set(link), self.proxy.set(proxy));
        }
        Ok(served)
    }

    fn requester(&self, config: HttpConfig) -> Result<HttpRequester, Error> {
        HttpRequester::new(&url(self.port()), config)
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(TcpStream::connect(("127.0.0.1", self.port())).await?))
    }

    async fn foreign(&self, config: HttpConfig, server: Foreign) -> Result<HttpRequester, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let behind = listener.local_addr().map_err(failed)?.port();
        let accepting = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server(Box::new(stream)));
            }
        };
        let running = Running::start(self.program, behind).await?;
        let requester = HttpRequester::new(&url(running.proxy.port), config);
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        foreign.1.spawn(accepting);
        foreign.0.push(running);
        requester
    }

    fn is_end_to_end(&self) -> bool {
        false
    }

    async fn end(&self) {
        self.link().close().await;
    }

    async fn kill(&self) {
        self.link().cut_and_refuse();
        while self.link().connections() > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn cut_after(&self, direction: Direction, bytes: u64) {
        self.link().cut_after(direction, bytes);
    }

    fn restore(&self) {
        self.link().restore();
    }
}
