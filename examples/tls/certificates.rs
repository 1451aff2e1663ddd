//! Certificates in a directory, as a certificate manager puts them there.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

/// Authority that both ends trust, and the directory of its certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// Makes the authority and its directory, with its certificate in `ca.pem`.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let directory = std::env::temp_dir().join(format!("rr-example-tls-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("ca.pem"), issuer.pem())?;
        Ok(Self { issuer, directory })
    }

    /// Writes a certificate and its key, replacing those of the name: `name.crt` and `name.key`.
    pub(crate) fn issue(
        &self,
        name: &str,
        dns_name: &str,
        uri: &str,
    ) -> Result<(), Box<dyn Error>> {
        let mut params = CertificateParams::new(vec![dns_name.to_owned()])?;
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?;
        fs::write(self.path(&format!("{name}.crt")), certificate.pem())?;
        Ok(())
    }

    /// Returns the path of a file in the directory.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        Path::new(&self.directory).join(file)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // The program ends; a directory that cannot be removed stays.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
