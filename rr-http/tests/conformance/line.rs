//! How the requesters of a rig reach its server.

mod pipe;
mod proxied;
mod tcp;
#[cfg(feature = "tls")]
mod tls;

use std::io;
use std::sync::Arc;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats};
use rr_spi::{BoxFuture, Error, Routes, Server, async_trait};
use rr_testkit::Direction;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use pipe::Pipe;
pub(crate) use proxied::Proxied;
pub(crate) use tcp::Tcp;
#[cfg(feature = "tls")]
pub(crate) use tls::Tls;

/// What bytes travel on, for a peer below the API.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A server of foreign make: it gets each of its connections.
pub(crate) type Foreign = Arc<dyn Fn(Box<dyn Stream>) -> BoxFuture<'static, ()> + Send + Sync>;

/// The way from requesters to one server.
#[async_trait]
pub(crate) trait Line: Send + Sync + 'static {
    /// Serves at its far end; again, and at the same address, once the server before has gone.
    async fn serve(
        &self,
        routes: Routes,
        config: HttpServerConfig,
    ) -> Result<(Server, HttpServerStats), Error>;

    /// Makes a requester at its near end.
    fn requester(&self, config: HttpConfig) -> Result<HttpRequester, Error>;

    /// Makes a connection for a peer below the API.
    async fn stream(&self) -> io::Result<Box<dyn Stream>>;

    /// Starts a foreign server, and returns a requester that reaches it by a line of this kind.
    async fn foreign(&self, config: HttpConfig, server: Foreign) -> Result<HttpRequester, Error>;

    /// Counts its open connections, where it sees them itself.
    fn connections(&self) -> Option<usize> {
        None
    }

    /// Whether its requesters' connections are the server's: false with a proxy between them that
    /// has its own connections to the server.
    fn is_end_to_end(&self) -> bool {
        true
    }

    /// Ends what stands before a server that has stopped: nobody is there any more.
    async fn end(&self) {}

    /// Cuts every connection, and lets none be made.
    async fn kill(&self) {
        panic!("this line cannot be cut");
    }

    /// Cuts every connection once so many more bytes have passed in one direction.
    fn cut_after(&self, direction: Direction, bytes: u64) {
        panic!("this line cannot be cut {bytes} bytes into its {direction:?}");
    }

    /// Lets connections be made again, and every byte on them pass.
    fn restore(&self) {
        panic!("this line cannot be cut");
    }
}

/// Makes the error for a rig that cannot be set up.
pub(crate) fn failed(error: io::Error) -> Error {
    let (code, delivery) = (rr_spi::Code::Unavailable, rr_spi::Delivery::NotSent);
    Error::failure(code, delivery, None, error.to_string()).with_source(error)
}
