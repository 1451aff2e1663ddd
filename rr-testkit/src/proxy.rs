//! A TCP proxy that cuts connections, for tests over real sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rr_spi::{CancelHandle, Cause, Context};
use tokio::net::{TcpListener, TcpStream};

use crate::{Direction, StreamLink};

/// Pause after a connection that could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Stands between a requester and a server on loopback and cuts their connections on command.
///
/// Dropping it ends it, with every connection.
pub struct TcpProxy {
    address: SocketAddr,
    upstream: SocketAddr,
    link: StreamLink,
    listening: CancelHandle,
    /// Ends when the socket is closed.
    closed: Context,
    _life: CancelHandle,
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
        let link = StreamLink::new();
        let accepting = accept(listener, upstream, link.clone(), life.clone());
        let (open, listening) = life.child();
        let (closed, closing) = Context::background().child();
        tokio::spawn(async move {
            let _ = open.race(accepting).await;
            closing.cancel_with(Cause::Finished);
        });
        Ok(Self { address, upstream, link, listening, closed, _life: handle })
    }

    /// Returns the address to connect to instead of the server's.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every open connection, at whatever byte it is.
    pub fn cut(&self) {
        self.link.cut();
    }

    /// Cuts every open connection, and closes new ones at once until [`TcpProxy::restore`].
    pub fn cut_and_refuse(&self) {
        self.link.cut_and_refuse();
    }

    /// Cuts every open connection as soon as so many more bytes have passed in one direction, on all
    /// of them together; 0 lets none of the next ones pass. Later connections are whole.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.link.cut_after(direction, bytes);
    }

    /// Lets connections through again, and every byte on them.
    pub fn restore(&self) {
        self.link.restore();
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
        self.link.connections()
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, link: StreamLink, life: Context) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, say: others close theirs.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Some(span) = link.open() else { continue };
        let life = life.clone();
        tokio::spawn(async move {
            let piped = span.run(async {
                let server = TcpStream::connect(upstream).await?;
                stream.set_nodelay(true)?;
                server.set_nodelay(true)?;
                span.copy(stream, server).await
            });
            // How a connection ends is seen at its ends.
            let _ = life.race(piped).await;
        });
    }
}

impl fmt::Debug for TcpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpProxy")
            .field("address", &self.address)
            .field("upstream", &self.upstream)
            .field("connections", &self.connections())
            .finish()
    }
}
