//! A TCP proxy that cuts connections, for tests over real sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rr_spi::{CancelHandle, Cause, Context};
use tokio::net::{TcpListener, TcpStream};

use crate::stream_link::{Direction, StreamLink};

/// Pause after a failed accept.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// TCP proxy between a requester and a server on loopback that cuts connections on command.
///
/// Dropping the proxy stops it and closes every connection.
pub struct TcpProxy {
    address: SocketAddr,
    upstream: SocketAddr,
    link: StreamLink,
    listening: CancelHandle,
    /// Ends when the listening socket is closed.
    closed: Context,
    _life: CancelHandle,
}

impl TcpProxy {
    /// Starts a proxy on a free loopback port.
    ///
    /// # Errors
    ///
    /// The error of binding the listening socket.
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

    /// Cuts every open connection immediately, even in the middle of a message.
    pub fn cut(&self) {
        self.link.cut();
    }

    /// Cuts every open connection and closes new ones immediately until [`TcpProxy::restore`].
    pub fn cut_and_refuse(&self) {
        self.link.cut_and_refuse();
    }

    /// Cuts every open connection once `bytes` more bytes have passed in `direction`, summed over
    /// all connections. With 0 no further byte passes. Connections opened after the cut are not
    /// affected.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.link.cut_after(direction, bytes);
    }

    /// Accepts new connections again and cancels a pending [`TcpProxy::cut_after`].
    pub fn restore(&self) {
        self.link.restore();
    }

    /// Stops listening permanently. Later connections are refused, as those to a stopped server
    /// are; open connections stay.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the proxy still stops listening.
    pub async fn close(&self) {
        self.listening.cancel_with(Cause::Shutdown);
        self.closed.cancelled().await;
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.link.connections()
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, link: StreamLink, life: Context) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // For example too many open files: other connections may close meanwhile.
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
            // Both ends see the result themselves.
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
