//! One connection: its version, and its end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;
use std::{future, io};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rr_spi::Context;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Site;
use super::service::answer;
use super::stop::Stop;
use super::tasks::{Count, Streams, Tasks};
use crate::socket::Socket;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest head of an HTTP/1 request, in bytes: 16 KiB for the application, as much for the rest.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Longest header list of an HTTP/2 request, counted with 32 bytes for each entry.
const HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;

/// Most streams that a client may have opened and reset before they were looked at. It bounds a
/// flood of resets, and h2's own 20 is less than one burst of cancelled calls.
const RESETS_PENDING_MAX: usize = 1024;

/// How often an HTTP/2 client is asked whether it is alive, and how long it may take to say so:
/// an idle connection has no other end when the client vanished.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take to end by itself when it has nothing to answer: one on which
/// half a head has arrived never would.
const CLOSE: Duration = Duration::from_millis(100);

/// Serves one connection until it ends, or until requests are no longer served and it has answered
/// what it had begun.
pub(super) async fn serve_connection(socket: Socket, site: Arc<Site>, tasks: Tasks) {
    let mut io = Sniffed::new(socket);
    let bound = Context::background().with_timeout(site.config.first_bytes_timeout);
    let first = pin!(bound.race(future::poll_fn(|cx| io.poll_version(cx))));
    let Some(Ok(Ok(is_h2))) = site.stop.race(first).await else { return };
    let watch = Watch { active: Count::default(), blocked: Arc::clone(&io.blocked) };
    if is_h2 {
        serve_h2(io, site, tasks, watch).await;
    } else {
        serve_h1(io, site, tasks, watch).await;
    }
}

async fn serve_h1(io: Sniffed, site: Arc<Site>, tasks: Tasks, watch: Watch) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder.header_read_timeout(site.config.header_read_timeout);
    builder.max_header_size(HEAD_BYTES_MAX);
    let service = service_fn(|request| {
        let active = watch.active.one();
        let (site, tasks) = (&site, &tasks);
        async move {
            let _active = active;
            Ok::<_, Infallible>(answer(site, tasks, request).await)
        }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    drive(connection, http1::Connection::graceful_shutdown, &site.stop, &watch).await;
}

async fn serve_h2(io: Sniffed, site: Arc<Site>, tasks: Tasks, watch: Watch) {
    let streams = Streams::new(tasks.clone(), watch.active.clone());
    let mut builder = http2::Builder::new(streams);
    builder.timer(TokioTimer::new());
    builder.max_concurrent_streams(site.config.h2_streams_max.max(1));
    builder.max_header_list_size(HEADER_LIST_BYTES_MAX);
    builder.max_pending_accept_reset_streams(RESETS_PENDING_MAX);
    builder.keep_alive_interval(PING_INTERVAL);
    builder.keep_alive_timeout(PING_TIMEOUT);
    let service = service_fn(|request| {
        let (site, tasks) = (Arc::clone(&site), tasks.clone());
        async move { Ok::<_, Infallible>(answer(&site, &tasks, request).await) }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    drive(connection, http2::Connection::graceful_shutdown, &site.stop, &watch).await;
}

/// What tells whether a connection still has something to answer.
struct Watch {
    /// Requests that are being answered.
    active: Count,
    /// Whether bytes wait for the peer to take them.
    blocked: Arc<AtomicBool>,
}

impl Watch {
    fn is_done(&self) -> bool {
        self.active.now() == 0 && !self.blocked.load(Ordering::Relaxed)
    }
}

/// Drives a connection; once requests are no longer served, only to the end of its answers.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    shut_down: impl FnOnce(Pin<&mut C>),
    stop: &Stop,
    watch: &Watch,
) {
    // How a connection ended is told to the calls on it; nobody else can act on it.
    if stop.race(connection.as_mut()).await.is_some() {
        return;
    }
    shut_down(connection.as_mut());
    loop {
        let bound = Context::background().with_timeout(CLOSE);
        if bound.race(connection.as_mut()).await.is_ok() || watch.is_done() {
            return;
        }
    }
}

/// A socket whose first bytes were looked at.
struct Sniffed {
    socket: Socket,
    /// What was read while the version was found out, and how much of it was handed on.
    seen: [u8; PREFACE.len()],
    seen_len: usize,
    handed: usize,
    blocked: Arc<AtomicBool>,
}

impl Sniffed {
    fn new(socket: Socket) -> Self {
        let seen = [0; PREFACE.len()];
        Self { socket, seen, seen_len: 0, handed: 0, blocked: Arc::default() }
    }

    /// Reads until it is clear whether this is HTTP/2; a peer that closes first is an error.
    fn poll_version(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<bool>> {
        loop {
            let seen = &self.seen[..self.seen_len];
            if *seen != PREFACE[..seen.len()] {
                return Poll::Ready(Ok(false));
            }
            if seen.len() == PREFACE.len() {
                return Poll::Ready(Ok(true));
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

    /// Remembers whether the peer takes what is written.
    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.blocked.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }
}

impl AsyncRead for Sniffed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.handed < self.seen_len {
            let end = self.seen_len.min(self.handed + into.remaining());
            into.put_slice(&self.seen[self.handed..end]);
            self.handed = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, from);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, from);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
