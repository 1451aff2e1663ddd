//! Pipes within the process: no sockets, and so in virtual time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, serve_streams};
use rr_spi::{CancelHandle, Cause, Context, Error, Routes, Server, async_trait};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
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

struct Shared {
    /// Takes the far ends; `None` without a server.
    server: Mutex<Option<mpsc::Sender<DuplexStream>>>,
    /// What every pipe ends with; `None` once it was cut.
    link: Mutex<Option<(Context, CancelHandle)>>,
    open: AtomicUsize,
}

impl Default for Shared {
    fn default() -> Self {
        let link = Mutex::new(Some(Context::background().child()));
        Self { server: Mutex::default(), link, open: AtomicUsize::new(0) }
    }
}

impl Pipe {
    /// Makes a pipe. A task in its middle carries the bytes, and ends it where the link is cut.
    async fn connect(&self) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let server = lock(&self.0.server).clone().ok_or_else(refused)?;
        let link = lock(&self.0.link).as_ref().map(|link| link.0.clone()).ok_or_else(refused)?;
        let (near, mut from) = duplex(PIPE_BYTES);
        let (mut to, far) = duplex(PIPE_BYTES);
        server.send(far).await.map_err(|_| refused())?;
        let open = Open::new(&self.0);
        tokio::spawn(async move {
            let _open = open;
            let _ = link.race(copy_bidirectional(&mut from, &mut to)).await;
        });
        Ok(near)
    }
}

/// One open pipe.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
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
        Some(self.0.open.load(Ordering::SeqCst))
    }

    async fn kill(&self) {
        if let Some((_, link)) = lock(&self.0.link).take() {
            link.cancel_with(Cause::PeerGone);
        }
        while self.0.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn restore(&self) {
        *lock(&self.0.link) = Some(Context::background().child());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
