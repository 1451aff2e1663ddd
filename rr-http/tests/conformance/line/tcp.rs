//! Sockets on the loopback interface.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, serve_with_stats};
use rr_spi::{Error, Routes, Server, async_trait};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Foreign, Line, Stream, failed};

/// How often a port is tried that a server has just left: its socket is closed by its own task.
const BINDS_MAX: u32 = 200;
const BIND_PAUSE: Duration = Duration::from_millis(5);

/// A server on a port of the loopback interface.
#[derive(Default)]
pub(crate) struct Tcp {
    address: OnceLock<SocketAddr>,
    /// The foreign servers, which end with the line.
    foreign: Mutex<JoinSet<()>>,
}

impl Tcp {
    /// Returns where its server is.
    pub(crate) fn address(&self) -> SocketAddr {
        *self.address.get().unwrap()
    }
}

#[async_trait]
impl Line for Tcp {
    async fn serve(
        &self,
        routes: Routes,
        config: HttpServerConfig,
    ) -> Result<(Server, HttpServerStats), Error> {
        let Some(address) = self.address.get() else {
            let served = serve_with_stats("http://127.0.0.1:0", routes, config).await?;
            let address = served.0.url().trim_start_matches("http://").parse().unwrap();
            self.address.set(address).unwrap();
            return Ok(served);
        };
        let url = format!("http://{address}");
        for _ in 0..BINDS_MAX {
            if let Ok(served) = serve_with_stats(&url, routes.clone(), config.clone()).await {
                return Ok(served);
            }
            tokio::time::sleep(BIND_PAUSE).await;
        }
        serve_with_stats(&url, routes, config).await
    }

    fn requester(&self, config: HttpConfig) -> Result<HttpRequester, Error> {
        HttpRequester::new(&format!("http://{}", self.address()), config)
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(TcpStream::connect(self.address()).await?))
    }

    async fn foreign(&self, config: HttpConfig, server: Foreign) -> Result<HttpRequester, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let accepting = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server(Box::new(stream)));
            }
        };
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner).spawn(accepting);
        HttpRequester::new(&url, config)
    }
}
