//! TLS over TCP.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rr_spi::{Error, PeerIdentity};
use rr_tls::TlsConnector;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CommonState, ConnectionCommon, ProtocolVersion, SideData};

/// Versions of HTTP that a server offers, and a requester that negotiates; the preferred one first.
pub(crate) const ALPN: &[&[u8]] = &[H2, H1];
pub(crate) const H1: &[u8] = b"http/1.1";
pub(crate) const H2: &[u8] = b"h2";

/// Most reads that look for unread bytes; each takes up to 4 KiB. A server has a few session tickets
/// to send, and a connection on which more arrives is not used again.
const READS_MAX: usize = 16;

/// Most bytes of replies that wait in the session of a server, which is one record. The buffers of
/// hyper and of the kernel hold the others.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// TCP connection whose handshake is complete.
pub(crate) struct TlsSocket {
    stream: TlsStream<TcpStream>,
    /// Whether bytes of the application have arrived.
    has_heard: bool,
    refused: Arc<OnceLock<Error>>,
    /// Server of a client's connection, for errors.
    authority: Option<Arc<str>>,
}

/// TLS of the connections to one server.
#[derive(Clone, Debug)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
    authority: Arc<str>,
}

impl TlsClient {
    /// Makes the TLS of a requester that offers the versions `alpn`.
    pub(crate) fn new(
        config: &rr_tls::TlsConfig,
        alpn: &[&[u8]],
        (authority, host): (&str, &str),
    ) -> Result<Self, Error> {
        let connector = TlsConnector::new(config, alpn)?;
        Ok(Self { name: connector.server_name(host)?, connector, authority: authority.into() })
    }

    /// Completes a handshake.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(crate) async fn connect(&self, stream: TcpStream) -> Result<TlsSocket, Error> {
        let connector = tokio_rustls::TlsConnector::from(self.connector.client_config().await);
        let connected = connector.connect(self.name.clone(), stream).await;
        let stream =
            connected.map_err(|error| rr_tls::connect_failed(&self.authority, error))?.into();
        Ok(TlsSocket::new(stream, Some(Arc::clone(&self.authority))))
    }
}

impl TlsSocket {
    fn new(stream: TlsStream<TcpStream>, authority: Option<Arc<str>>) -> Self {
        Self { stream, has_heard: false, refused: Arc::default(), authority }
    }

    /// Makes the socket of a server.
    pub(crate) fn accepted(mut stream: tokio_rustls::server::TlsStream<TcpStream>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(REPLY_BYTES_MAX));
        Self::new(stream.into(), None)
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().0
    }

    /// Returns whether both ends agreed on HTTP/2.
    pub(crate) fn is_h2(&self) -> bool {
        self.common().alpn_protocol() == Some(H2)
    }

    /// Returns the identity of the other end.
    pub(crate) fn identity(&self) -> Option<PeerIdentity> {
        rr_tls::peer_identity(self.common())
    }

    /// Returns the place where a read stores that the server refused the client's certificate.
    pub(crate) fn refused(&self) -> Arc<OnceLock<Error>> {
        Arc::clone(&self.refused)
    }

    fn common(&self) -> &CommonState {
        self.stream.get_ref().1
    }

    /// Returns whether a byte of the application, the end or an error waits to be read. Handles
    /// records of TLS itself, such as the session tickets that a server sends unasked.
    pub(crate) fn has_unread(&mut self) -> bool {
        match &mut self.stream {
            TlsStream::Client(stream) => {
                let (tcp, session) = stream.get_mut();
                has_unread(tcp, session)
            }
            TlsStream::Server(stream) => {
                let (tcp, session) = stream.get_mut();
                has_unread(tcp, session)
            }
        }
    }

    /// Notes what a read has shown.
    fn note(&mut self, polled: &Poll<io::Result<()>>, received: bool) {
        self.has_heard |= received;
        let (Poll::Ready(Err(error)), Some(authority)) = (polled, &self.authority) else { return };
        let Some(refusal) = rr_tls::refusal(authority, error) else { return };
        // Only in TLS 1.3 does a server verify the client after the client's handshake.
        let is_late = self.common().protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if is_late && !self.has_heard && !self.has_plaintext() {
            let _first = self.refused.set(refusal);
        }
    }

    /// Returns whether bytes arrived together with an alert, which hides them from reads. Takes one
    /// of them: the connection is over.
    fn has_plaintext(&mut self) -> bool {
        let mut byte = [0];
        let read = match &mut self.stream {
            TlsStream::Client(stream) => stream.get_mut().1.reader().read(&mut byte),
            TlsStream::Server(stream) => stream.get_mut().1.reader().read(&mut byte),
        };
        matches!(read, Ok(1))
    }
}

/// Reads what the kernel has, past tokio, which reads only once its driver has seen an event.
fn has_unread<D: SideData>(tcp: &TcpStream, session: &mut ConnectionCommon<D>) -> bool {
    let socket = SockRef::from(tcp);
    for _ in 0..READS_MAX {
        match session.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
            _ => return true,
        }
        let mut raw = &*socket;
        match session.read_tls(&mut raw.by_ref()) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
    true
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        let received = into.filled().len() > before;
        self.note(&polled, received);
        polled
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
