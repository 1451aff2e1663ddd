//! TLS for the transports of `rr`, over rustls: one configuration for clients and servers.
//!
//! Applications depend on `rr-core` with its feature `tls` and set options by URL or configuration.
//! This crate is for transports, and for tests of them.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | configure a client | [`TlsConfig`], [`Pem`] |
//! | configure a server | [`TlsServerConfig`], [`TlsClientAuth`] |
//! | make connections of a transport | [`TlsConnector`], [`connect_failed`] |
//! | accept connections of a transport | [`TlsAcceptor`], [`peer_identity`] |
//!
//! # Cryptography
//!
//! The feature `ring` is the default. With the feature `aws-lc-rs`, AWS-LC is used instead. The
//! provider is given explicitly; the process-wide default of rustls is neither used nor set.
//!
//! # Roots
//!
//! Without [`TlsConfig::roots`], the roots are those that the operating system has, as
//! rustls-native-certs finds them. They verify in process by the same rules as given roots, and so
//! together with [`TlsConfig::crls`], on every platform. They are read once in a process, and shared:
//! a change of them takes effect when the process starts again.

#![forbid(unsafe_code)]

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("rr-tls needs one of its features `ring` and `aws-lc-rs`");

mod acceptor;
mod config;
mod connector;
mod failure;
mod followed;
mod identity;
mod material;
mod pem;
mod provider;
mod verifier;

pub use acceptor::TlsAcceptor;
pub use config::{TlsClientAuth, TlsConfig, TlsServerConfig};
pub use connector::TlsConnector;
pub use failure::{connect_failed, is_closed, refusal};
pub use identity::peer_identity;
pub use material::check_url;
pub use pem::Pem;
