//! What bytes travel on: a socket of ours, or a stream that the application has made.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rr_spi::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::endpoint::Address;

/// Longest message that is put together before it is written, in bytes: the kernel takes one piece
/// for less than a list of them, which shows as long as there is little to copy.
const JOINED_MAX: usize = 512;

/// Puts the parts of a message together, in `room` if they are several.
fn joined<'a>(parts: &'a [io::IoSlice<'_>], room: &'a mut [u8; JOINED_MAX]) -> &'a [u8] {
    if let [part] = parts {
        return part;
    }
    let mut length = 0;
    for part in parts {
        room[length..][..part.len()].copy_from_slice(part);
        length += part.len();
    }
    &room[..length]
}

/// One connection. What is encrypted joins as a variant: the kinds that this crate makes itself
/// cost no dynamic dispatch.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Anything else that bytes travel on.
    Stream(Box<dyn Stream>),
}

/// What an application may bring instead of a socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Makes streams where the application says how.
pub(crate) struct Connector(Box<Connect>);

type Connect = dyn Fn() -> BoxFuture<'static, io::Result<Socket>> + Send + Sync;

impl Connector {
    pub(crate) fn new<F, C, S>(connect: F) -> Self
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = io::Result<S>> + Send + 'static,
        S: Stream,
    {
        Self(Box::new(move || {
            let connecting = connect();
            Box::pin(async move { Ok(Socket::Stream(Box::new(connecting.await?))) })
        }))
    }

    pub(crate) async fn connect(&self) -> io::Result<Socket> {
        (self.0)().await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Socket {
    /// Connects. Small messages are sent at once: Nagle's algorithm is off.
    pub(crate) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            #[cfg(unix)]
            Address::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
        }
    }
}

/// Forwards one method of the IO traits to whichever socket it is.
macro_rules! forward {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Self::Stream(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self.poll_read(cx, into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self.poll_write(cx, from))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if from.iter().map(|part| part.len()).sum::<usize>() <= JOINED_MAX {
            let mut room = [0; JOINED_MAX];
            return self.poll_write(cx, joined(from, &mut room));
        }
        forward!(self.poll_write_vectored(cx, from))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Stream(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_written_in_parts_arrives_as_it_is_whatever_its_length() {
        for parts in [&[][..], &[0], &[JOINED_MAX], &[100, 0, 12], &[500, 12], &[500, 13], &[9000]]
        {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            let mut socket = Socket::Stream(Box::new(ours));
            let parts: Vec<_> =
                parts.iter().enumerate().map(|(at, &len)| vec![at as u8 + 1; len]).collect();
            let slices: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
            let mut socket = Pin::new(&mut socket);
            let written = poll_fn(|cx| socket.as_mut().poll_write_vectored(cx, &slices)).await;
            let written = written.unwrap();
            poll_fn(|cx| socket.as_mut().poll_shutdown(cx)).await.unwrap();
            let mut arrived = Vec::new();
            theirs.read_to_end(&mut arrived).await.unwrap();
            assert_eq!(arrived.len(), written);
            assert_eq!(arrived, parts.concat()[..written]);
            assert!(written > 0 || parts.concat().is_empty());
        }
    }
}
