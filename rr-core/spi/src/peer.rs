//! Other end of the connection on which a request arrived.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

/// Other end of the connection on which a request arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    address: Option<SocketAddr>,
    identity: Option<Arc<PeerIdentity>>,
    /// `None` if the address decides.
    is_local: Option<bool>,
}

impl Peer {
    /// Makes a peer without an address and without an identity.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the address of the other end: of the caller, or of the last proxy before this
    /// server. `None` over a Unix socket, and over streams that the application made.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the identity that the certificate of the other end proves; `None` without TLS, and
    /// if the other end gave no certificate.
    #[must_use]
    pub fn identity(&self) -> Option<&PeerIdentity> {
        self.identity.as_deref()
    }

    /// Returns whether the other end runs on this machine: its address is a loopback address, or it is
    /// connected through a Unix socket.
    ///
    /// A proxy on this machine is local whatever its clients are. A client that the PROXY protocol
    /// announces is not local.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let by_address = || self.address.is_some_and(|at| at.ip().to_canonical().is_loopback());
        self.is_local.unwrap_or_else(by_address)
    }

    /// Declares that the other end runs on this machine. For transports.
    #[must_use]
    pub fn as_local(self) -> Self {
        Self { is_local: Some(true), ..self }
    }

    /// Declares that the other end does not run on this machine, whatever its address. For transports.
    #[must_use]
    pub fn as_remote(self) -> Self {
        Self { is_local: Some(false), ..self }
    }

    /// Replaces the address.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<Option<SocketAddr>>) -> Self {
        self.address = address.into();
        self
    }

    /// Replaces the identity.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<Option<PeerIdentity>>) -> Self {
        self.identity = identity.into().map(Arc::new);
        self
    }
}

/// Identity of a peer whose certificate chain was verified: mutual TLS.
///
/// A handler decides from it what the caller may do. The identity is that of the other end of the
/// connection; behind a proxy that ends TLS, it is the identity of the proxy.
///
/// # Examples
///
/// ```
/// # mod rr_core { pub use rr_spi::*; pub mod context { pub use rr_spi::{Peer, PeerIdentity, RequestInfo}; } }
/// use rr_core::context::{Peer, PeerIdentity, RequestInfo};
/// use rr_core::{Code, Context, Error};
///
/// async fn refund(ctx: Context, order: String) -> Result<String, Error> {
///     let identity = ctx.request().peer().and_then(Peer::identity);
///     match identity.and_then(PeerIdentity::spiffe_id) {
///         Some("spiffe://shop.example/billing") => Ok(format!("{order} is refunded")),
///         _ => Err(Error::new(Code::PermissionDenied, "only billing refunds orders")),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// // In a unit test, the identity is attached to the context.
/// let billing = PeerIdentity::new([]).with_uris(["spiffe://shop.example/billing"]);
/// let peer = Peer::new().with_identity(billing);
/// let ctx = Context::background().with_request(RequestInfo::default().with_peer(peer));
/// assert_eq!(refund(ctx, "order 1".to_owned()).await?, "order 1 is refunded");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    certificates: Vec<Bytes>,
    dns_names: Vec<String>,
    uris: Vec<String>,
}

impl PeerIdentity {
    /// Makes an identity from a certificate chain in DER, leaf first, without names.
    #[must_use]
    pub fn new(certificates: impl IntoIterator<Item = Bytes>) -> Self {
        Self { certificates: certificates.into_iter().collect(), ..Self::default() }
    }

    /// Returns the certificates as the peer sent them, in DER, leaf first.
    ///
    /// Only the leaf is proved to be the peer's. The others are what the peer sent along: they need
    /// not be part of the chain that was verified.
    #[must_use]
    pub fn certificates(&self) -> &[Bytes] {
        &self.certificates
    }

    /// Returns the DNS names of the leaf certificate, from its subject alternative names. A wildcard
    /// such as `*.shop.example` is returned as it is.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// Returns the URIs of the leaf certificate, from its subject alternative names.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Returns the SPIFFE ID: the URI with the scheme `spiffe`. `None` if the certificate has
    /// another URI too, since a SPIFFE certificate has exactly one (X.509-SVID §2). A malformed second
    /// URI does not count, since transports leave it out.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [only] if only.starts_with("spiffe://") => Some(only),
            _ => None,
        }
    }

    /// Replaces the DNS names.
    #[must_use]
    pub fn with_dns_names(
        mut self,
        dns_names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.dns_names = dns_names.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the URIs.
    #[must_use]
    pub fn with_uris(mut self, uris: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.uris = uris.into_iter().map(Into::into).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_local_by_its_address_unless_its_transport_knows_better() {
        let at = |address: &str| Peer::new().with_address(address.parse::<SocketAddr>().unwrap());
        for local in ["127.0.0.1:1", "127.9.8.7:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(at(local).is_local(), "{local}");
            assert!(!at(local).as_remote().is_local(), "{local}");
        }
        for remote in ["10.0.0.1:1", "0.0.0.0:1", "[::]:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!at(remote).is_local(), "{remote}");
        }
        assert!(!Peer::new().is_local());
        assert!(Peer::new().as_local().is_local());
    }

    #[test]
    fn a_spiffe_id_is_the_only_uri_of_its_certificate() {
        let of = |uris: &[&str]| {
            let identity = PeerIdentity::new([]).with_uris(uris.iter().copied());
            identity.spiffe_id().map(str::to_owned)
        };
        assert_eq!(of(&["spiffe://a/b"]).as_deref(), Some("spiffe://a/b"));
        for none in [&[][..], &["https://a"], &["spiffe://a/b", "https://a"], &["spiffe:a"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }
}
