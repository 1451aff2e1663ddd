//! Sockets of server connections: detect the HTTP version, and report activity.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::timeouts::ActivityMonitor;
use crate::socket::Socket;

/// First bytes that an HTTP/2 client sends (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// HTTP version that the first bytes indicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    H1,
    H2,
}

/// Socket whose first bytes were inspected, and which reports its activity to a monitor.
pub(super) struct Sniffed {
    socket: Socket,
    /// Bytes read while the version was detected, and how many of them were passed on.
    seen: [u8; PREFACE.len()],
    seen_len: usize,
    handed: usize,
    version: Version,
    activity: Arc<ActivityMonitor>,
}

impl Sniffed {
    pub(super) fn new(socket: Socket, activity: Arc<ActivityMonitor>) -> Self {
        let seen = [0; PREFACE.len()];
        Self { socket, seen, seen_len: 0, handed: 0, version: Version::H2, activity }
    }

    /// Reads until the version is known. A peer that closes first is an error.
    pub(super) fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Version>> {
        loop {
            let seen = &self.seen[..self.seen_len];
            if *seen != PREFACE[..seen.len()] {
                self.version = Version::H1;
                self.activity.received();
                return Poll::Ready(Ok(Version::H1));
            }
            if seen.len() == PREFACE.len() {
                return Poll::Ready(Ok(Version::H2));
            }
            let mut rest = ReadBuf::new(&mut self.seen[self.seen_len..]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut rest))?;
            let read = rest.filled().len();
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.seen_len += read;
        }
    }

    /// Reports to the monitor how much of a write the socket accepted.
    fn note(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &polled {
            Poll::Ready(Ok(taken)) => self.activity.written(*taken),
            Poll::Ready(Err(_)) => self.activity.flushed(),
            Poll::Pending => self.activity.blocked(),
        }
        polled
    }
}

impl AsyncRead for Sniffed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.handed < self.seen_len {
            let end = self.seen_len.min(self.handed + into.remaining());
            into.put_slice(&self.seen[self.handed..end]);
            self.handed = end;
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, into);
        if self.version == Version::H1 && into.filled().len() > before {
            self.activity.received();
        }
        polled
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, from);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, from);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Hyper flushes once it has nothing left to write, h2 after each frame. Over HTTP/2,
        // streams therefore count their own progress.
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        match polled {
            Poll::Ready(_) => self.activity.flushed(),
            // Only TLS holds bytes back, up to 64 KiB.
            Poll::Pending => self.activity.blocked(),
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
