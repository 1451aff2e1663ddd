//! Byte streams of connections: sockets of this crate, or streams of the application.

mod foreign;
mod options;
mod refused;
#[cfg(feature = "tls")]
mod tls;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rr_spi::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

pub(crate) use self::foreign::{Foreign, Stream, contained, panicked};
pub(crate) use self::options::SocketOptions;
pub(crate) use self::refused::Refused;
#[cfg(feature = "tls")]
pub(crate) use self::tls::{ALPN, H1, H2, TlsClient, TlsSocket};

/// Longest message, in bytes, that is joined into one buffer before it is written. A plain write
/// costs less than a vectored one while there is little to copy.
const JOINED_MAX: usize = 512;

/// Byte stream of one connection. The kinds that this crate makes are variants, without dynamic
/// dispatch.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Boxed: large, and rare next to the work of encryption.
    #[cfg(feature = "tls")]
    Tls(Box<TlsSocket>),
    /// Stream of the application.
    Stream(Foreign),
}

impl Socket {
    /// Returns the address of the other end, if the stream is a TCP socket.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.tcp().peer_addr().ok(),
            Self::Stream(_) => None,
        }
    }

    /// Returns the other end, whose address decides whether it is on this machine unless the socket
    /// is a Unix socket.
    pub(crate) fn peer(&self) -> Peer {
        let peer = Peer::new().with_address(self.peer_address());
        #[cfg(unix)]
        if matches!(self, Self::Unix(_)) {
            return peer.as_local();
        }
        peer
    }

    /// Sets the options of a TCP socket; other streams have none.
    pub(crate) fn set_options(&self, options: SocketOptions) {
        if let Self::Tcp(stream) = self {
            options.apply(stream);
        }
    }

    /// Returns the refusal of the connection by its server, which a read may show later.
    pub(crate) fn refused(&self) -> Refused {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Refused(Some(stream.refused())),
            _ => Refused::default(),
        }
    }
}

/// Forwards a method of the IO traits to the inner stream.
macro_rules! forward {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
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
        if let [part] = from {
            return self.poll_write(cx, part);
        }
        if from.iter().map(|part| part.len()).sum::<usize>() <= JOINED_MAX {
            let (mut joined, mut length) = ([0; JOINED_MAX], 0);
            for part in from {
                joined[length..][..part.len()].copy_from_slice(part);
                length += part.len();
            }
            return self.poll_write(cx, &joined[..length]);
        }
        forward!(self.poll_write_vectored(cx, from))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Stream(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use super::*;

    /// Records the written bytes, and the number of slices of each write.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<(Vec<u8>, Vec<usize>)>>);

    impl Written {
        fn take(&self, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
            let mut written = self.0.lock().unwrap();
            let before = written.0.len();
            pieces.iter().for_each(|piece| written.0.extend_from_slice(piece));
            written.1.push(pieces.len());
            Poll::Ready(Ok(written.0.len() - before))
        }
    }

    impl AsyncRead for Written {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Written {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            from: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.take(&[io::IoSlice::new(from)])
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            from: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.take(from)
        }
    }

    #[test]
    fn short_messages_are_one_piece_and_longer_ones_are_not_copied() {
        for (lengths, pieces) in [
            (&[][..], 1),
            (&[7], 1),
            (&[9000], 1),
            (&[100, 0, 12], 1),
            (&[500, 12], 1),
            (&[500, 13], 2),
            (&[200, 9000, 1], 3),
        ] {
            let parts = lengths.iter().zip(1..).map(|(&length, fill)| vec![fill; length]);
            let parts: Vec<Vec<u8>> = parts.collect();
            let slices: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
            let written = Written::default();
            let mut socket = Socket::Stream(Foreign::new(written.clone()));
            let mut cx = Context::from_waker(Waker::noop());
            let polled = Pin::new(&mut socket).poll_write_vectored(&mut cx, &slices);
            let Poll::Ready(Ok(length)) = polled else { panic!("{polled:?}") };
            assert_eq!(length, lengths.iter().sum::<usize>());
            let (bytes, writes) = &*written.0.lock().unwrap();
            assert_eq!((bytes, &writes[..]), (&parts.concat(), &[pieces][..]), "{lengths:?}");
        }
    }
}
