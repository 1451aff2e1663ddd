//! Sockets of pooled connections whose reads are observed.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rr_spi::Doubt;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;

/// Observer of a socket's reads.
pub(super) trait ReadTap: Unpin {
    /// Reads from the socket, or returns an error instead.
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// Socket whose reads go through a [`ReadTap`]; writes pass as they are.
pub(super) struct Tapped<T> {
    socket: Socket,
    tap: T,
}

impl<T: ReadTap> Tapped<T> {
    pub(super) fn new(socket: Socket, tap: T) -> Self {
        Self { socket, tap }
    }
}

/// Detects bytes on an unused HTTP/1.1 connection before a request is written to it (RFC 9112 §9.2).
/// The check asks the kernel: tokio reads only once its driver has seen an event, which may come
/// later than the bytes.
#[derive(Clone, Default)]
pub(super) struct UnreadCheck(Arc<AtomicBool>);

impl UnreadCheck {
    /// Makes the next read check. Hyper reads before it writes a request, and hands the request back
    /// if that read fails.
    pub(super) fn arm(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ReadTap for UnreadCheck {
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Only the task that drives the connection reads and writes the flag.
        let is_armed = self.0.load(Ordering::Relaxed);
        self.0.store(false, Ordering::Relaxed);
        if is_armed && has_unread(socket) {
            let text = "the server ended the connection or sent something unasked";
            return Poll::Ready(Err(io::Error::other(text)));
        }
        Pin::new(socket).poll_read(cx, into)
    }
}

/// Returns whether a byte, the end or an error waits to be read. Always `false` for streams of the
/// application, which report these only when they are read.
fn has_unread(socket: &mut Socket) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let peeked = match socket {
        Socket::Tcp(stream) => SockRef::from(&*stream).peek(&mut byte),
        #[cfg(unix)]
        Socket::Unix(stream) => SockRef::from(&*stream).peek(&mut byte),
        #[cfg(feature = "tls")]
        Socket::Tls(stream) => return stream.has_unread(),
        Socket::Stream(_) => return false,
    };
    !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Counts the reads of an HTTP/2 connection that brought bytes, so that a call can detect a silent
/// connection without a clock.
impl ReadTap for Arc<Doubt> {
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(socket).poll_read(cx, into);
        if into.filled().len() > before {
            self.received();
        }
        polled
    }
}

impl<T: ReadTap> AsyncRead for Tapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, tap } = &mut *self;
        tap.poll_read(socket, cx, into)
    }
}

impl<T: ReadTap> AsyncWrite for Tapped<T> {
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
