//! Certificates of the peers that speak TLS.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::Result;

/// Self-signed certificate of this machine, in files that are removed with it.
pub struct Identity {
    folder: PathBuf,
}

impl Identity {
    /// Makes a certificate for 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When the files cannot be written.
    pub fn new() -> Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("rr-bench-{}-{number}", std::process::id());
        let identity = Self { folder: std::env::temp_dir().join(name) };
        fs::create_dir_all(&identity.folder)?;
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        fs::write(identity.certificate(), made.cert.pem())?;
        fs::write(identity.key(), made.signing_key.serialize_pem())?;
        Ok(identity)
    }

    /// The file of the certificate, which clients trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// The file of the key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// The address at which a server listens, and the file that its clients trust.
    #[must_use]
    pub fn address(&self, host: &str) -> String {
        format!("https://{host}?tls_roots={}", self.certificate().display())
    }

    pub(super) fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let certificate = CertificateDer::from_pem_file(self.certificate())?;
        let key = PrivateKeyDer::from_pem_file(self.key())?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Arc::new(config))
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the URL of an address and the certificate that its server has, in PEM.
pub(super) fn parts(address: &str) -> Result<(&str, String)> {
    let (url, file) = address.split_once("?tls_roots=").ok_or("the address names no roots")?;
    Ok((url, fs::read_to_string(file)?))
}

pub(super) fn client_config(certificate: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
