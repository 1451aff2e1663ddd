//! How the bytes of a connection travel: over TCP, TLS or a websocket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_nats::rustls::crypto::ring;
use async_nats::rustls::{ClientConfig, RootCertStore};
use async_nats::{ConnectError, ConnectOptions};
use rr_spi::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::members::Host;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::config::NatsConnectionConfig;
use crate::error;
use crate::scheme::Scheme;

/// How the bytes of a connection travel.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    scheme: Scheme,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// Where TLS begins on a connection that this crate makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsBegin {
    Never,
    First,
    AfterInfo,
}

/// Stream of bytes.
pub(super) type Stream = Box<dyn ReadWrite>;

pub(super) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for S {}

/// The way to one server: a connection over which it can be asked takes the same.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(super) channel: Channel,
    pub(super) socket: SocketAddr,
    /// The name that the certificate of the server has.
    pub(super) name: String,
}

impl Channel {
    /// Reads the files of TLS if the scheme needs them.
    ///
    /// # Errors
    ///
    /// Not sent: those of the files.
    #[allow(unused_variables, reason = "without TLS there is nothing to read")]
    pub(crate) fn new(scheme: Scheme, config: &NatsConnectionConfig) -> Result<Self, Error> {
        Ok(Self {
            scheme,
            #[cfg(feature = "tls")]
            tls: scheme.is_secure().then(|| Tls::new(config)).transpose()?,
        })
    }

    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self::new(Scheme::Nats, &NatsConnectionConfig::default()).unwrap()
    }

    /// Returns the URL of a server for the client library.
    ///
    /// Over a websocket the library resolves the name itself, since the request that opens the
    /// websocket contains the name, by which proxies choose the server.
    pub(super) fn url(&self, host: &Host, socket: SocketAddr) -> String {
        let scheme = self.scheme.in_library();
        match self.scheme.is_websocket() {
            true => format!("{scheme}://{}", host.address),
            false => format!("{scheme}://{socket}"),
        }
    }

    /// Returns whether the addresses of a host are dialled separately.
    pub(super) fn dials_addresses(&self) -> bool {
        !self.scheme.is_websocket()
    }

    /// Returns whether a server can be asked over a connection that this crate makes itself.
    pub(super) fn can_ask(&self) -> bool {
        !self.scheme.is_websocket()
    }

    /// Adds TLS to the options of the client library. `name` is what the certificate of the server
    /// must have.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, if no certificate can have this name.
    #[allow(unused_variables, clippy::unused_async, reason = "without TLS there is no name")]
    pub(super) async fn secured(
        &self,
        options: ConnectOptions,
        name: &str,
    ) -> Result<ConnectOptions, Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.apply(options, name).await;
        }
        Ok(options.tls_client_config(trusting_none()))
    }

    pub(super) fn tls_begin(&self) -> TlsBegin {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return if tls.first { TlsBegin::First } else { TlsBegin::AfterInfo };
        }
        TlsBegin::Never
    }

    /// Begins TLS on a stream that this crate has opened.
    #[allow(unused_variables, clippy::unused_async, reason = "without TLS there is no name")]
    pub(super) async fn begin_tls(&self, stream: Stream, name: &str) -> io::Result<Stream> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.handshake(stream, name).await;
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the error for a connection that could not be made: nothing was sent.
    pub(super) fn failed(&self, address: &str, source: ConnectError) -> Error {
        #[cfg(feature = "tls")]
        if let Some(error) = self.tls.as_ref().and_then(|tls| tls.failed(address, &source)) {
            return error;
        }
        error::connect(address, source)
    }

    /// Makes the error for a server that has not answered in time: nothing was sent.
    pub(super) fn silent(&self, address: &str, config: &NatsConnectionConfig) -> Error {
        let error = error::unproven(address, config.connect_timeout);
        match self.tls_begin() {
            TlsBegin::AfterInfo => error.with_hint(
                "check the address; a server whose `tls` block has `handshake_first: true` needs \
                 the option `tls_first=true`",
            ),
            TlsBegin::Never | TlsBegin::First => error,
        }
    }
}

/// Returns a TLS configuration that trusts no server.
///
/// The client library begins TLS by itself if a server requires it. Without this configuration it
/// would then trust the platform's roots, and need a process-wide provider of cryptography.
fn trusting_none() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let Ok(builder) = builder else { unreachable!("ring has cipher suites for every version") };
    builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}
