//! Handshakes of TLS: within the task of their connection, bounded in number and in time.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use rr_spi::observe::Event;
use rr_spi::{Code, Context, Delivery, Error, PeerIdentity};
use rr_tls::{TlsAcceptor, TlsServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{HttpServerStats, ServerState};
use crate::socket::{ALPN, Socket, TlsSocket};
use crate::sync::Gauge;
use crate::wire::{Refusal, ReplyStyle, encode_error};

/// TLS of a server.
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    places: Semaphore,
    /// Handshakes whose first byte has arrived.
    begun: Gauge,
    timeout: Duration,
}

/// Longest time, and most bytes, for which a refused connection is read before it is closed: closing
/// a socket with unread bytes resets it, and the peer may lose the answer that names the cause.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: u64 = 64 * 1024;

impl Tls {
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the configuration or its files cannot be used.
    pub(super) fn new(config: &TlsServerConfig) -> Result<Self, Error> {
        let most = config.handshakes_max.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            acceptor: TlsAcceptor::new(config, ALPN)?,
            places: Semaphore::new(most),
            begun: Gauge::default(),
            timeout: config.handshake_timeout,
        })
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Returns whether handshakes are in progress whose first byte has arrived.
    pub(super) fn shakes_hands(&self) -> bool {
        self.begun.now() > 0
    }

    /// Completes the handshake of a connection. Returns `None` when it fails or takes too long, and
    /// reports it; `peer` is the address for the report.
    pub(super) async fn accept(
        &self,
        socket: Socket,
        peer: Option<SocketAddr>,
        state: &ServerState,
    ) -> Option<(Socket, Option<PeerIdentity>)> {
        // Only TCP has TLS of this crate.
        let Socket::Tcp(stream) = socket else { return Some((socket, None)) };
        let bound = Context::background().with_timeout(self.timeout);
        let mut reason = Cow::Borrowed("the handshake took too long");
        let accepted = bound.race(self.shake_hands(stream, &state.stats, &mut reason)).await;
        let Some(socket) = accepted.ok().flatten() else {
            state.intake.monitor().event(&Event::handshake_refused(peer, &reason));
            state.stats.handshake_failed();
            return None;
        };
        let identity = socket.identity();
        Some((Socket::Tls(Box::new(socket)), identity))
    }

    /// Sets `reason` when the handshake fails.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        stats: &HttpServerStats,
        reason: &mut Cow<'static, str>,
    ) -> Option<TlsSocket> {
        let _counted = stats.handshakes.one_here();
        // Only from the first byte on, so that silent connections take no places.
        let is_plain = is_plain(&stream).await;
        let is_plain = is_plain.map_err(|error| *reason = error.to_string().into()).ok()?;
        if is_plain {
            *reason = "the peer speaks HTTP without TLS".into();
            refuse_plain(stream).await;
            return None;
        }
        let begun = self.begun.one_here();
        // The semaphore is never closed.
        let place = self.places.acquire().await.ok()?;
        let acceptor = tokio_rustls::TlsAcceptor::from(self.acceptor.server_config());
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Some(TlsSocket::accepted(stream)),
            Err((error, stream)) => {
                *reason = error.to_string().into();
                drop((place, begun));
                linger(stream).await;
                None
            }
        }
    }
}

/// Returns whether a connection begins with the name of a method: HTTP without TLS. A connection
/// with TLS begins with the byte 22 (RFC 8446 §5.1).
async fn is_plain(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let length = stream.peek(&mut first).await?;
    Ok(length == 1 && first[0].is_ascii_alphabetic())
}

/// Answers a request without TLS. The request is not read, and may be one that a proxy repeats: the
/// reply proves nothing about its delivery.
async fn refuse_plain(mut stream: TcpStream) {
    let text = "this port speaks TLS: use https://";
    let error = Error::failure(Code::InvalidArgument, Delivery::Unknown, None, text);
    let style = ReplyStyle { is_get: true, closes: true, ..ReplyStyle::default() };
    let (head, body) = encode_error(&Refusal::from(error), style).into_parts();
    if stream.write_all(&plain_reply(head.status, &head.headers, &body)).await.is_ok() {
        linger(stream).await;
    }
}

/// Writes a reply of HTTP/1.1: no connection of hyper serves a peer that is not served.
fn plain_reply(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Vec<u8> {
    let mut reply = format!("HTTP/1.1 {status}\r\n").into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        reply.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    };
    for (name, value) in headers {
        line(name.as_str(), value.as_bytes());
    }
    line(header::CONTENT_LENGTH.as_str(), body.len().to_string().as_bytes());
    reply.extend_from_slice(b"\r\n");
    reply.extend_from_slice(body);
    reply
}

/// Ends a connection so that its peer can read what was written.
async fn linger(mut stream: TcpStream) {
    let bound = Context::background().with_timeout(LINGER);
    let reading = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // The connection is over in any case.
    let _ = bound.race(reading).await;
}
