//! TLS of the connections of one requester or server.

use std::error::Error as StdError;
use std::io;

use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, rustls};
use rr_spi::{Error, excerpt};
use rr_tls::TlsConnector;

use super::channel::Stream;
use crate::config::NatsConnectionConfig;

/// TLS of the connections.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    connector: TlsConnector,
    /// Whether TLS begins before the server's first line.
    pub(super) first: bool,
}

impl Tls {
    pub(super) fn new(config: &NatsConnectionConfig) -> Result<Self, Error> {
        Ok(Self { connector: TlsConnector::new(&config.tls, &[])?, first: config.tls_first })
    }

    /// Adds TLS to the options of the client library, which verifies the certificate against the
    /// address that it is given: the configuration replaces that by the name.
    pub(super) async fn apply(
        &self,
        options: ConnectOptions,
        name: &str,
    ) -> Result<ConnectOptions, Error> {
        let name = self.connector.server_name(name)?;
        let config = self.connector.client_config_for(name).await;
        let options = options.tls_client_config(config).require_tls(true);
        Ok(if self.first { options.tls_first() } else { options })
    }

    /// Shakes hands on a stream.
    pub(super) async fn handshake(&self, stream: Stream, name: &str) -> io::Result<Stream> {
        let name = self.connector.server_name(name).map_err(io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(self.connector.client_config().await);
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    /// Makes the error for a handshake that failed; `None` if another step did.
    pub(super) fn failed(&self, address: &str, source: &ConnectError) -> Option<Error> {
        if let Some(cause) = rustls_error(source) {
            let speaks_no_tls = matches!(cause, rustls::Error::InvalidMessage(_));
            let error = rr_tls::connect_failed(address, io::Error::other(cause.clone()));
            return Some(match (speaks_no_tls, self.first) {
                (false, _) => error,
                (true, true) => error.with_hint(
                    "leave out `tls_first` unless the server's `tls` block has `handshake_first: \
                     true`",
                ),
                (true, false) => error.with_hint(
                    "let the NATS server speak TLS, by its `tls` block, or use `nats://`",
                ),
            });
        }
        if source.kind() == ConnectErrorKind::Tls {
            let text = source.source().map_or_else(|| source.to_string(), ToString::to_string);
            let error = io::Error::other(excerpt(&text, 256));
            return Some(rr_tls::connect_failed(address, error).with_hint(
                "async-nats also reads the certificates of the platform: repair those that \
                 `SSL_CERT_FILE` and `SSL_CERT_DIR` name",
            ));
        }
        let ended = io_error(source).filter(|error| rr_tls::is_closed(error))?;
        Some(rr_tls::connect_failed(address, io::Error::new(ended.kind(), ended.to_string())))
    }
}

/// Returns the error of rustls that an error has as its cause.
fn rustls_error(error: &ConnectError) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| {
        let within = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let within = within.and_then(|inner| inner.downcast_ref());
        within.or_else(|| cause.downcast_ref())
    })
}

fn io_error(error: &ConnectError) -> Option<&io::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes(error: &ConnectError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}
