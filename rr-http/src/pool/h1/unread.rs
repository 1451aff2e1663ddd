//! Notices bytes on an unused connection before it is used (RFC 9112 §9.2).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;

/// A socket that asks the kernel for unread bytes when it is told to.
///
/// Tokio reads only once its driver has seen an event, which may come after the bytes did.
pub(super) struct Asking {
    socket: Socket,
    asks: Asks,
}

/// Whether the next read asks the kernel first.
#[derive(Clone, Default)]
pub(super) struct Asks(Arc<AtomicBool>);

impl Asks {
    /// Lets reads ask the kernel while `during` runs.
    pub(super) fn during<T>(&self, during: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::Relaxed);
        let output = during();
        self.0.store(false, Ordering::Relaxed);
        output
    }
}

impl Asking {
    pub(super) fn new(socket: Socket) -> (Self, Asks) {
        let asks = Asks::default();
        (Self { socket, asks: asks.clone() }, asks)
    }

    /// Tells whether a byte, the end or an error waits to be read. Streams that are no sockets of
    /// ours tell by reading.
    fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match &self.socket {
            Socket::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            #[cfg(unix)]
            Socket::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            Socket::Stream(_) => return false,
        };
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Asking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.asks.0.load(Ordering::Relaxed) && self.has_unread() {
            let text = "the server ended the connection or sent something unasked";
            return Poll::Ready(Err(io::Error::other(text)));
        }
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for Asking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
