//! Certificates, keys and revocation lists, read and checked.

use std::sync::{Arc, OnceLock};

use rr_spi::{Code, Delivery, Error, Location};
use rustls::RootCertStore;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::pem::Pem;

/// Reads the certificate chain and the key of one end. `None` when both are missing.
pub(crate) fn read_chain(
    certificate: &Pem,
    key: &Pem,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, Error> {
    match (certificate.is_none(), key.is_none()) {
        (true, true) => return Ok(None),
        (false, false) => {}
        (true, false) => {
            return Err(invalid("`tls_key` is given without `tls_certificate`")
                .with_hint("set both, or neither"));
        }
        (false, true) => {
            return Err(invalid("`tls_certificate` is given without `tls_key`")
                .with_hint("set both, or neither"));
        }
    }
    let chain = read_all::<CertificateDer<'static>>(certificate, "tls_certificate")?;
    let key = read_key(key)?;
    Ok(Some((chain, key)))
}

fn read_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, Error> {
    let text = pem.read().map_err(|error| unreadable(pem, "tls_key", &error))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        // The error of the library quotes the line, which may be a part of the key.
        PemError::NoItemsFound => unusable(pem, "tls_key", "it has no private key"),
        _ => unusable(pem, "tls_key", "it is not valid PEM"),
    })
}

/// Reads trusted certificates.
pub(crate) fn read_roots(pem: &Pem, option: &'static str) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in read_all::<CertificateDer<'static>>(pem, option)? {
        roots.add(certificate).map_err(|error| {
            unusable(pem, option, &format!("it has a bad certificate: {error}"))
        })?;
    }
    Ok(Arc::new(roots))
}

/// Roots of the operating system. Clients share them, since they take a quarter of a MiB and a few
/// milliseconds to read.
static PLATFORM_ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// Returns the trusted certificates of the operating system, read once in a process.
pub(crate) fn platform_roots() -> Result<Arc<RootCertStore>, Error> {
    if let Some(roots) = PLATFORM_ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let roots = read_platform_roots()?;
    Ok(Arc::clone(PLATFORM_ROOTS.get_or_init(|| roots)))
}

fn read_platform_roots() -> Result<Arc<RootCertStore>, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Platforms have certificates that no library for the web can use.
    let (used, _) = roots.add_parsable_certificates(found.certs);
    if used == 0 {
        let message = "the operating system has no trusted certificates";
        return Err(Error::failure(Code::FailedPrecondition, Delivery::NotSent, None, message)
            .with_hint("install the package ca-certificates, or set `tls_roots`"));
    }
    Ok(Arc::new(roots))
}

/// Reads revocation lists; none if there is no value.
pub(crate) fn read_crls(
    pem: &Pem,
    option: &'static str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    if pem.is_none() { Ok(Vec::new()) } else { read_all(pem, option) }
}

/// Reads every item of one kind; none is an error.
fn read_all<T: PemObject + 'static>(pem: &Pem, option: &'static str) -> Result<Vec<T>, Error> {
    let text = pem.read().map_err(|error| unreadable(pem, option, &error))?;
    let items: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    match items {
        Ok(items) if !items.is_empty() => Ok(items),
        Ok(_) => Err(unusable(pem, option, "nothing of the kind is in it")),
        Err(_) => Err(unusable(pem, option, "it is not valid PEM")),
    }
}

fn unreadable(pem: &Pem, option: &'static str, error: &std::io::Error) -> Error {
    let message = format!("`{option}` cannot be read from {}: {error}", pem.origin());
    invalid(message).with_hint("give the path of a file in PEM, or its text")
}

/// Makes the error for a value that was read and cannot be used.
pub(crate) fn unusable(pem: &Pem, option: &'static str, why: &str) -> Error {
    let message = format!("`{option}` of {} cannot be used: {why}", pem.origin());
    invalid(message)
        .with_hint("give a path, or a text in PEM with `-----BEGIN` and of the right kind")
}

pub(crate) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

/// Refuses a key in the query of a URL, since URLs are shown and logged.
///
/// # Errors
///
/// `InvalidArgument`, not sent, when `tls_key` is not the path of a file.
pub fn check_url(location: &Location) -> Result<(), Error> {
    let is_text = |text: &str| !text.is_empty() && Pem::from(text).path().is_none();
    if location.query().any(|(name, text)| name == "tls_key" && is_text(text)) {
        return Err(invalid("a URL cannot contain the key `tls_key` itself")
            .with_hint("give the path of the key, or set the key in the configuration"));
    }
    Ok(())
}
