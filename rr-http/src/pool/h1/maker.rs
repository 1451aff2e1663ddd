//! Makes the connections of a pool.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rr_spi::Error;
use rr_spi::dial::DialProgress;

use super::H1Connection;
use crate::pool::negotiated::{NegotiatedVersion, Negotiation};
use crate::pool::tapped::{Tapped, UnreadCheck};
use crate::pool::{AgeLimit, Dialer};
use crate::self_wake::SelfWake;
use crate::socket::Socket;
use crate::sync::GaugeGuard;

/// Makes the connections of a pool.
#[derive(Clone)]
pub(super) struct H1Maker {
    pub(super) dialer: Arc<Dialer>,
    pub(super) host: HeaderValue,
    pub(super) negotiation: Negotiation,
    pub(super) age: AgeLimit,
}

impl H1Maker {
    /// Makes a connection.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(super) async fn connect(
        &self,
        progress: &DialProgress,
    ) -> Result<Box<H1Connection>, Error> {
        let (socket, open) = self.dialer.dial(progress).await?;
        let wanted = NegotiatedVersion::H1;
        let admitted = self.negotiation.admit(wanted, socket, open, &self.dialer.authority).await;
        let (socket, open) = admitted?;
        self.start_h1(socket, open).await
    }

    /// Starts HTTP/1.1 on a socket.
    ///
    /// # Errors
    ///
    /// As [`H1Maker::connect`].
    pub(super) async fn start_h1(
        &self,
        socket: Socket,
        open: GaugeGuard,
    ) -> Result<Box<H1Connection>, Error> {
        let self_wake = match socket {
            Socket::Stream(_) => SelfWake::of_stream(),
            Socket::Tcp(_) => SelfWake::new(),
            #[cfg(unix)]
            Socket::Unix(_) => SelfWake::new(),
            #[cfg(feature = "tls")]
            Socket::Tls(_) => SelfWake::new(),
        };
        let refused = socket.refused();
        let unread = UnreadCheck::default();
        let socket = Tapped::new(socket, unread.clone());
        // Folded header lines are read as spaces (RFC 9112 §5.2).
        let mut builder = http1::Builder::new();
        builder.allow_obsolete_multiline_headers_in_responses(true);
        let handshake = builder.handshake(TokioIo::new(socket)).await;
        let (sender, connection) = handshake.map_err(|error| self.dialer.failed(error))?;
        // The bytes come from a valid value, and so are valid.
        let own_host = HeaderValue::from_bytes(self.host.as_bytes());
        Ok(Box::new(H1Connection {
            sender: Some(sender),
            host: own_host.unwrap_or_else(|_| self.host.clone()),
            is_used: false,
            retires: self.age.retires_at(),
            last: None,
            idle_since: None,
            spare: HeaderMap::new(),
            connection: Some(connection),
            self_wake,
            unread,
            refused,
            _open: open,
        }))
    }
}
