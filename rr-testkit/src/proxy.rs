//! A TCP proxy that cuts connections, for tests over real sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rr_spi::{CancelHandle, Cause, Context};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Pause after a connection that could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Stands between a requester and a server on loopback and cuts their connections on command.
///
/// Dropping it ends it, with every connection.
pub struct TcpProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: CancelHandle,
    /// Ends when the socket is closed.
    closed: Context,
    _life: CancelHandle,
}

struct Shared {
    upstream: SocketAddr,
    refusing: AtomicBool,
    connections: AtomicUsize,
    life: Context,
    /// The scope of the connections that are open; replaced at each cut.
    link: Mutex<(Context, CancelHandle)>,
}

impl TcpProxy {
    /// Starts a proxy on a free loopback port.
    ///
    /// # Errors
    ///
    /// Those of binding a socket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (life, handle) = Context::background().child();
        let shared = Arc::new(Shared {
            upstream,
            refusing: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            link: Mutex::new(life.child()),
            life: life.clone(),
        });
        let accepting = Arc::clone(&shared);
        let (open, listening) = life.child();
        let (closed, closing) = Context::background().child();
        tokio::spawn(async move {
            let _ = open.race(accept(listener, accepting)).await;
            closing.cancel_with(Cause::Finished);
        });
        Ok(Self { address, shared, listening, closed, _life: handle })
    }

    /// Returns the address to connect to instead of the server's.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every open connection, at whatever byte it is.
    pub fn cut(&self) {
        let mut link = self.shared.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.1.cancel_with(Cause::PeerGone);
        *link = self.shared.life.child();
    }

    /// Cuts every open connection, and closes new ones at once until [`TcpProxy::restore`].
    pub fn cut_and_refuse(&self) {
        self.shared.refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.shared.refusing.store(false, Ordering::SeqCst);
    }

    /// Stops listening, for good: from now on connections are refused, as those to the server
    /// itself would be once it is gone. Open ones stay.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not keep it open.
    pub async fn close(&self) {
        self.listening.cancel_with(Cause::Shutdown);
        self.closed.cancelled().await;
    }

    /// Returns how many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, say: others close theirs.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // Taken before refusing is looked at: a cut in between then ends this connection too.
        let link = shared.link.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        if shared.refusing.load(Ordering::SeqCst) {
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let _ = link.race(pipe(stream, shared.upstream)).await;
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn pipe(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

impl fmt::Debug for TcpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpProxy")
            .field("address", &self.address)
            .field("upstream", &self.shared.upstream)
            .field("connections", &self.connections())
            .finish()
    }
}
