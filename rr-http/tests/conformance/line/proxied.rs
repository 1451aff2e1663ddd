//! Sockets on the loopback interface, with something between that cuts them.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats};
use rr_spi::{Error, Routes, Server, async_trait};
use rr_testkit::{Direction, TcpProxy};
use tokio::net::TcpStream;

use super::{Foreign, Line, Stream, Tcp, failed};

/// A server behind a proxy that cuts connections.
#[derive(Default)]
pub(crate) struct Proxied {
    behind: Tcp,
    proxy: OnceLock<TcpProxy>,
}

/// How often the proxy is asked whether it has closed everything.
const LOOK: Duration = Duration::from_millis(1);

impl Proxied {
    fn proxy(&self) -> &TcpProxy {
        self.proxy.get().unwrap()
    }
}

#[async_trait]
impl Line for Proxied {
    async fn serve(
        &self,
        routes: Routes,
        config: HttpServerConfig,
    ) -> Result<(Server, HttpServerStats), Error> {
        let served = self.behind.serve(routes, config).await?;
        if self.proxy.get().is_none() {
            let proxy = TcpProxy::start(self.behind.address()).await.map_err(failed)?;
            self.proxy.set(proxy).unwrap();
        }
        Ok(served)
    }

    fn requester(&self, config: HttpConfig) -> Result<HttpRequester, Error> {
        HttpRequester::new(&format!("http://{}", self.proxy().address()), config)
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(TcpStream::connect(self.proxy().address()).await?))
    }

    async fn foreign(&self, config: HttpConfig, server: Foreign) -> Result<HttpRequester, Error> {
        self.behind.foreign(config, server).await
    }

    fn connections(&self) -> Option<usize> {
        Some(self.proxy().connections())
    }

    async fn end(&self) {
        self.proxy().close().await;
    }

    async fn kill(&self) {
        self.proxy().cut_and_refuse();
        while self.proxy().connections() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn cut_after(&self, direction: Direction, bytes: u64) {
        self.proxy().cut_after(direction, bytes);
    }

    fn restore(&self) {
        self.proxy().restore();
    }
}
