//! Refusal of a connection by its server after the handshake of TLS.

#[cfg(feature = "tls")]
use std::sync::{Arc, OnceLock};

use rr_spi::Error;

use crate::error::not_sent;

/// Refusal of a connection by its server after the handshake of TLS, if a read has shown one: in
/// TLS 1.3 a server sees the client's certificate only then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused(#[cfg(feature = "tls")] pub(super) Option<Arc<OnceLock<Error>>>);

impl Refused {
    /// Returns the error of a call that was written on the connection: rejected.
    pub(crate) fn rejected(&self) -> Option<Error> {
        #[cfg(feature = "tls")]
        return self.0.as_ref()?.get().cloned();
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Returns the error of a call that was not written on the connection: not sent.
    pub(crate) fn not_sent(&self) -> Option<Error> {
        self.rejected().as_ref().map(not_sent)
    }
}
