//! Pipes within the process: no sockets, and so in virtual time.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, serve_streams};
use rr_spi::{Error, Routes, Server, async_trait};
use rr_testkit::{Direction, StreamLink};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::{Foreign, Line, Stream};

/// What a pipe is called; nobody looks it up.
const URL: &str = "http://pipe";

/// What half a pipe holds each way: much less than the long bodies of the suite.
const PIPE_BYTES: usize = 16 * 1024;

/// Most pipes that were made and not accepted yet.
const QUEUE: usize = 16;

/// Two of the suite's units in virtual time: the default is long for a drain that may take ten.
const DRAIN_LINGER: Duration = Duration::from_millis(20);

/// A server at the far ends of pipes.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Takes the far ends; `None` without a server.
    server: Mutex<Option<mpsc::Sender<DuplexStream>>>,
    /// In the middle of every pipe: carries the bytes, and ends it where it is cut.
    link: StreamLink,
}

impl Pipe {
    async fn connect(&self) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let server = lock(&self.0.server).clone().ok_or_else(refused)?;
        if self.0.link.is_refusing() {
            return Err(refused());
        }
        let (near, from) = duplex(PIPE_BYTES);
        let (to, far) = duplex(PIPE_BYTES);
        let link = self.0.link.clone();
        let carrying = tokio::spawn(async move { link.carry(from, to).await });
        if server.send(far).await.is_err() {
            carrying.abort();
            return Err(refused());
        }
        Ok(near)
    }
}

#[async_trait]
impl Line for Pipe {
    async fn serve(
        &self,
        routes: Routes,
        config: HttpServerConfig,
    ) -> Result<(Server, HttpServerStats), Error> {
        let (sender, incoming) = mpsc::channel(QUEUE);
        let served = serve_streams(URL, incoming, routes, config.with_drain_linger(DRAIN_LINGER))?;
        *lock(&self.0.server) = Some(sender);
        Ok(served)
    }

    fn requester(&self, config: HttpConfig) -> Result<HttpRequester, Error> {
        let pipe = self.clone();
        let connect = move || {
            let pipe = pipe.clone();
            async move { pipe.connect().await }
        };
        HttpRequester::with_connector(URL, config, connect)
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.connect().await?))
    }

    async fn foreign(&self, config: HttpConfig, server: Foreign) -> Result<HttpRequester, Error> {
        let connect = move || {
            let (near, far) = duplex(PIPE_BYTES);
            // It ends with its connection.
            tokio::spawn(server(Box::new(far)));
            async move { Ok(near) }
        };
        HttpRequester::with_connector(URL, config, connect)
    }

    fn connections(&self) -> Option<usize> {
        Some(self.0.link.connections())
    }

    async fn kill(&self) {
        self.0.link.cut_and_refuse();
        while self.0.link.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn cut_after(&self, direction: Direction, bytes: u64) {
        self.0.link.cut_after(direction, bytes);
    }

    fn restore(&self) {
        self.0.link.restore();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
