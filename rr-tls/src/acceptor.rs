//! The server side.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Deadline, Error};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::time::sleep_until;

use crate::config::{TlsClientAuth, TlsServerConfig};
use crate::followed::Followed;
use crate::material::{invalid, read_chain, read_crls, read_roots, unusable};
use crate::provider::provider;

/// Shortest interval between two checks of the files.
const RELOAD_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// TLS of the connections of one server. Clones share it.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), rr_spi::Error> {
/// use rr_tls::{TlsAcceptor, TlsServerConfig};
///
/// let config = TlsServerConfig::default()
///     .with_certificate("/etc/rr/tls.crt")
///     .with_key("/etc/rr/tls.key");
/// let acceptor = TlsAcceptor::new(&config, &[b"h2", b"http/1.1"])?;
/// // For each connection:
/// let server_config = acceptor.server_config();
/// # drop(server_config);
/// // In parallel with the accept loop, and ended with it:
/// acceptor.follow_files().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsAcceptor(Arc<Inner>);

struct Inner {
    followed: Followed<ServerConfig>,
    interval: Duration,
}

impl TlsAcceptor {
    /// Reads the files of a configuration. `alpn` lists the protocols that are spoken, the
    /// preferred one first. A client that asks for none of them is accepted only if it asks for no
    /// protocol.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the certificate or its key is missing, when a file cannot be
    /// read or used, or when clients must give certificates and no roots are given for them.
    pub fn new(config: &TlsServerConfig, alpn: &[&[u8]]) -> Result<Self, Error> {
        if config.certificate.is_none() && config.key.is_none() {
            return Err(invalid("a server with TLS needs a certificate and its key")
                .with_hint("set `tls_certificate` and `tls_key` to the paths of PEM files"));
        }
        let interval = config.reload_interval.max(RELOAD_INTERVAL_MIN);
        let files = [&config.certificate, &config.key, &config.client_roots, &config.client_crls];
        let (made_from, alpn) = (config.clone(), alpn.iter().map(|name| name.to_vec()).collect());
        let followed =
            Followed::new(&files, move || server_config(&made_from, &alpn).map(Arc::new))?;
        Ok(Self(Arc::new(Inner { followed, interval })))
    }

    /// Returns the configuration for the next connection.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.0.followed.current()
    }

    /// Checks the files at the configured interval, outside of the async threads, and reads those
    /// that have changed. Never returns.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn follow_files(&self) {
        loop {
            sleep_until(Deadline::after(self.0.interval).instant()).await;
            if !self.0.followed.has_files() {
                continue;
            }
            let this = self.clone();
            let checked = tokio::task::spawn_blocking(move || this.reload()).await;
            if let Ok(Err(error)) = checked {
                tracing::warn!(%error, "changed TLS files cannot be used; the previous ones remain");
            }
        }
    }

    /// Reads the files again if they have changed, and returns whether they had. Blocks while it
    /// reads; returns `false` immediately while another thread does.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a changed file cannot be used; the previous configuration remains.
    /// Each change is reported once.
    pub fn reload(&self) -> Result<bool, Error> {
        self.0.followed.check()
    }

    /// Returns why the files could not be used when they last changed; `None` if they could.
    #[must_use]
    pub fn last_reload_error(&self) -> Option<Error> {
        self.0.followed.failure()
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

/// Makes a configuration with an empty store of sessions: a client that resumes a session of an
/// earlier configuration is verified anew.
fn server_config(from: &TlsServerConfig, alpn: &Vec<Vec<u8>>) -> Result<ServerConfig, Error> {
    let Some((chain, key)) = read_chain(&from.certificate, &from.key)? else {
        return Err(invalid("a server with TLS needs a certificate and its key"));
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .with_client_cert_verifier(client_verifier(from)?)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&from.certificate, "tls_certificate", &error.to_string()))?;
    config.alpn_protocols.clone_from(alpn);
    Ok(config)
}

fn client_verifier(from: &TlsServerConfig) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    if from.client_auth == TlsClientAuth::None {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    if from.client_roots.is_none() {
        return Err(invalid("client certificates are asked for, but nothing verifies them")
            .with_hint("set `tls_client_roots` to the authorities of the clients"));
    }
    let roots = read_roots(&from.client_roots, "tls_client_roots")?;
    let crls = read_crls(&from.client_crls, "tls_client_crls")?;
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider()).with_crls(crls);
    let builder = match from.client_auth {
        TlsClientAuth::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    builder
        .build()
        .map_err(|error| unusable(&from.client_crls, "tls_client_crls", &error.to_string()))
}
