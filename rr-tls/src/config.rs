//! Configuration of both ends.

use std::time::Duration;

use serde::Deserialize;

use crate::pem::Pem;

rr_spi::options! {
    /// TLS of a client.
    ///
    /// Files that change are read again: a client certificate can be replaced while calls run. The
    /// files are checked when a connection is made, at most once a second. A file that cannot be
    /// used leaves the previous certificates in place.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_tls::TlsConfig;
    ///
    /// let tls = TlsConfig::default().with_roots("/etc/rr/ca.pem").with_server_name("orders");
    /// assert!(tls.certificate.is_none());
    /// ```
    pub struct TlsConfig named "tls_" {
        /// Certificates of the authorities that are trusted. Default none: those of the operating
        /// system, which are read once in a process. Given roots replace these.
        pub roots: Pem = Pem::NONE, with_roots(impl Into<Pem>);
        /// Certificate of the client for mutual TLS, followed by its intermediate certificates.
        /// Default none. Requires [`Self::key`].
        pub certificate: Pem = Pem::NONE, with_certificate(impl Into<Pem>);
        /// Private key of [`Self::certificate`]: PKCS #8, PKCS #1 or SEC1, not encrypted. Default
        /// none. A URL accepts only a path, since URLs are shown and logged.
        pub key: Pem = Pem::NONE, with_key(impl Into<Pem>);
        /// Name that the certificate of the server must have, and that the client asks for (SNI).
        /// Default empty: the host of the URL.
        pub server_name: String = String::new(), with_server_name(impl Into<String>);
        /// Revocation lists. Default none: revocation is not checked. With lists, each certificate
        /// of a chain but the root needs a list of its issuer; a certificate without one is
        /// refused. A list is used after its next update is due too.
        pub crls: Pem = Pem::NONE, with_crls(impl Into<Pem>);
    }
}

/// Certificates that a server asks of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TlsClientAuth {
    /// None: the server asks for no certificate.
    #[default]
    None,
    /// A client without a certificate is accepted and has no identity; a client with a certificate
    /// that cannot be verified is refused.
    Optional,
    /// A client without a certificate is refused.
    Required,
}

rr_spi::options! {
    /// TLS of a server.
    ///
    /// Files that change are read again, without a restart, and no connection is closed: new
    /// handshakes use the new files. A client that resumes an earlier session is then verified
    /// anew. Files that cannot be used leave the previous certificates in place.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_tls::{TlsClientAuth, TlsServerConfig};
    ///
    /// let tls = TlsServerConfig::default()
    ///     .with_certificate("/etc/rr/tls.crt")
    ///     .with_key("/etc/rr/tls.key")
    ///     .with_client_auth(TlsClientAuth::Required)
    ///     .with_client_roots("/etc/rr/clients.pem");
    /// assert_eq!(tls.handshakes_max, 1024);
    /// ```
    pub struct TlsServerConfig named "tls_" {
        /// Certificate of the server, followed by its intermediate certificates. Required.
        pub certificate: Pem = Pem::NONE, with_certificate(impl Into<Pem>);
        /// Private key of [`Self::certificate`]: PKCS #8, PKCS #1 or SEC1, not encrypted. Required.
        /// A URL accepts only a path, since URLs are shown and logged.
        pub key: Pem = Pem::NONE, with_key(impl Into<Pem>);
        /// Whether clients give a certificate: `none`, `optional` or `required`. Default `none`.
        pub client_auth: TlsClientAuth = TlsClientAuth::None, with_client_auth(TlsClientAuth);
        /// Certificates of the authorities that are trusted for clients. Required unless
        /// [`Self::client_auth`] is `none`: a public authority vouches for no client.
        pub client_roots: Pem = Pem::NONE, with_client_roots(impl Into<Pem>);
        /// Revocation lists for client certificates. Default none: revocation is not checked. With
        /// lists, each certificate of a chain but the root needs a list of its issuer. A list is
        /// used after its next update is due too.
        pub client_crls: Pem = Pem::NONE, with_client_crls(impl Into<Pem>);
        /// Timeout of a handshake, from the accepted connection, with the wait for its turn.
        /// Default 10 s; 0 accepts no connection.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub handshake_timeout: Duration = Duration::from_secs(10),
            with_handshake_timeout(Duration);
        /// Maximum number of handshakes in progress; further connections wait for their turn within
        /// [`Self::handshake_timeout`]. A connection that has sent nothing is not counted. Default
        /// 1024: an unfinished handshake holds up to 64 KiB, which is the first message of a client
        /// in fragments, so that all together hold at most 64 MiB. 0 accepts no connection.
        pub handshakes_max: usize = 1024, with_handshakes_max(usize);
        /// Interval between two checks for changed files. Default 10 s; 0 counts as 100 ms.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub reload_interval: Duration = Duration::from_secs(10), with_reload_interval(Duration);
    }
}
