//! Cryptography.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Makes the provider of cryptography: AWS-LC if it is compiled in, else ring.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}
