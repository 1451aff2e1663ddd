//! The client side.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_spi::{Error, excerpt};
use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::ServerName;
use tokio::time::Instant;

use crate::config::TlsConfig;
use crate::followed::Followed;
use crate::material::{invalid, platform_roots, read_chain, read_crls, read_roots, unusable};
use crate::provider::provider;
use crate::verifier::Verifier;

/// Shortest time between two checks of the files.
const CHECK_PAUSE: Duration = Duration::from_secs(1);

/// Configuration of rustls, and its verifier, which rustls does not give back.
struct Client {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

/// TLS of the connections to one server. Clones share it.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), rr_spi::Error> {
/// use rr_tls::{TlsConfig, TlsConnector};
///
/// let config = TlsConfig::default().with_roots("/etc/rr/ca.pem");
/// let connector = TlsConnector::new(&config, &[b"h2", b"http/1.1"])?;
/// let name = connector.server_name("orders.example")?;
/// // For each connection: the files may have changed.
/// let client_config = connector.client_config().await;
/// # drop((name, client_config));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsConnector(Arc<Inner>);

struct Inner {
    followed: Followed<Client>,
    server_name: String,
    checked_at: Mutex<Option<Instant>>,
}

impl TlsConnector {
    /// Reads the files of a configuration. `alpn` lists the protocols to offer, the preferred one
    /// first; none is offered if it is empty.
    ///
    /// # Errors
    ///
    /// Not sent: `InvalidArgument` when a file cannot be read or used; `FailedPrecondition` when the
    /// operating system has no roots and none are given.
    pub fn new(config: &TlsConfig, alpn: &[&[u8]]) -> Result<Self, Error> {
        let TlsConfig { roots, certificate, key, server_name, crls } = config.clone();
        if !server_name.is_empty() {
            name(&server_name)?;
        }
        let alpn: Vec<_> = alpn.iter().map(|name| name.to_vec()).collect();
        // The platform's roots are no file that this value could follow.
        let platform = if roots.is_none() { Some(platform_roots()?) } else { None };
        let parts = Parts { roots: roots.clone(), certificate, key, crls, alpn };
        let files = parts.clone();
        let followed =
            Followed::new(&[&roots, &files.certificate, &files.key, &files.crls], move || {
                let roots = match &platform {
                    Some(platform) => Arc::clone(platform),
                    None => read_roots(&parts.roots, "tls_roots")?,
                };
                parts.client(roots).map(Arc::new)
            })?;
        Ok(Self(Arc::new(Inner { followed, server_name, checked_at: Mutex::default() })))
    }

    /// Returns the configuration for the next connection, read again if its files have changed.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.checked().await.config)
    }

    /// Returns the configuration for the next connection, as [`TlsConnector::client_config`], whose
    /// server must have the certificate of `name`, whatever name or address the connection is made
    /// with.
    ///
    /// For client libraries that are given the address of the server, and take it for its name. No
    /// session is resumed: rustls keeps sessions by the name that it is given.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn client_config_for(&self, name: ServerName<'static>) -> ClientConfig {
        let client = self.checked().await;
        let mut config = ClientConfig::clone(&client.config);
        let verifier = client.verifier.for_name(name);
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        config.resumption = Resumption::disabled();
        config
    }

    /// Returns the current client, made again if its files have changed.
    async fn checked(&self) -> Arc<Client> {
        if self.0.is_check_due() {
            let inner = Arc::clone(&self.0);
            let checking = tokio::task::spawn_blocking(move || inner.followed.check());
            if let Ok(Err(error)) = checking.await {
                tracing::warn!(%error, "changed TLS files cannot be used; the previous ones remain");
            }
        }
        self.0.followed.current()
    }

    /// Returns the name that the certificate of the server must have: the configured one, or the
    /// host of the URL.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the host is neither a DNS name nor an IP address.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, Error> {
        name(if self.0.server_name.is_empty() { host } else { &self.0.server_name })
    }

    /// Returns why the files could not be used when they last changed; `None` if they could.
    #[must_use]
    pub fn last_reload_error(&self) -> Option<Error> {
        self.0.followed.failure()
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

impl Inner {
    fn is_check_due(&self) -> bool {
        if !self.followed.has_files() {
            return false;
        }
        let mut checked_at = self.checked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = checked_at.is_none_or(|at| at.elapsed() >= CHECK_PAUSE);
        if is_due {
            *checked_at = Some(Instant::now());
        }
        is_due
    }
}

fn name(host: &str) -> Result<ServerName<'static>, Error> {
    // The zone of an address is local to this machine, and in no certificate.
    let bare = host.split_once('%').map_or(host, |(address, _)| address);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    ServerName::try_from(host.to_owned()).map_err(|_| {
        let message = format!("`{}` cannot be the name of a certificate", excerpt(host, 64));
        invalid(message).with_hint("a name is a DNS name such as orders.example, or an IP address")
    })
}

/// What a client's configuration is made of, besides its roots.
#[derive(Clone)]
struct Parts {
    roots: crate::Pem,
    certificate: crate::Pem,
    key: crate::Pem,
    crls: crate::Pem,
    alpn: Vec<Vec<u8>>,
}

impl Parts {
    fn client(&self, roots: Arc<rustls::RootCertStore>) -> Result<Client, Error> {
        let provider = provider();
        let crls = read_crls(&self.crls, "tls_crls")?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .with_crls(crls)
            .build()
            .map_err(|error| unusable(&self.crls, "tls_crls", &error.to_string()))?;
        let verifier = Arc::new(Verifier::new(verifier));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier));
        let mut config = match read_chain(&self.certificate, &self.key)? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                unusable(&self.certificate, "tls_certificate", &error.to_string())
            })?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Client { config: Arc::new(config), verifier })
    }
}
