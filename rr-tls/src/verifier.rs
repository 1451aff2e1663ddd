//! Verification of servers: by the name of the connection or a fixed one, with an error that names a
//! self-signed certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

/// Verifier that decides as rustls' own, tells a self-signed certificate from one of an unknown issuer,
/// and may require the certificate of a fixed name.
#[derive(Debug)]
pub(crate) struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    /// Name that the certificate must have, instead of the one that the connection was made with.
    name: Option<ServerName<'static>>,
}

impl Verifier {
    pub(crate) fn new(webpki: Arc<WebPkiServerVerifier>) -> Self {
        Self { webpki, name: None }
    }

    /// Returns a verifier that requires the certificate of `name`, whatever name a connection is made
    /// with.
    pub(crate) fn for_name(&self, name: ServerName<'static>) -> Self {
        Self { webpki: Arc::clone(&self.webpki), name: Some(name) }
    }
}

/// Cause of a refusal: the certificate is signed by its own key, which is not trusted.
#[derive(Debug)]
pub(crate) struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is self-signed")
    }
}

impl std::error::Error for SelfSigned {}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        let verified =
            self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        let is_about_trust = match &verified {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => true,
            // A root does not make the certificate of an authority one of a server.
            Err(Error::InvalidCertificate(CertificateError::Other(other))) => {
                !is_of_authority(other)
            }
            _ => false,
        };
        if is_about_trust && is_self_signed(end_entity) {
            let cause = OtherError(Arc::new(SelfSigned));
            return Err(Error::InvalidCertificate(CertificateError::Other(cause)));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Returns whether a server was refused because its certificate is that of an authority, as
/// `openssl req -x509` makes them. This is decided before the roots are looked at.
pub(crate) fn is_of_authority(cause: &OtherError) -> bool {
    matches!(cause.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(certificate).is_ok_and(|parsed| parsed.issuer() == parsed.subject())
}
