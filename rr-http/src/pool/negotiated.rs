//! The version of HTTP that both ends agree on in the handshake of TLS (ALPN).
//!
//! A requester that leaves the choice to the server has a pool for each version, and the newest
//! connection decides which pool serves the next call. Before the first connection, calls wait in
//! the pool of HTTP/2, which makes one connection for all of them. A pool that gets a connection of
//! the other version passes it on: the calls that waited for it go to the other pool. Nothing of a
//! request is sent meanwhile.

use std::fmt;
#[cfg(feature = "tls")]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "tls")]
use std::sync::{Arc, OnceLock, Weak};

use rr_spi::Error;
#[cfg(feature = "tls")]
use rr_spi::{Code, Delivery, Reason};

#[cfg(feature = "tls")]
use super::{Dialer, H1Pool, H2Pool, RuntimePool, h1::H1Shared, h2::H2Shared};
#[cfg(feature = "tls")]
use crate::config::HttpConfig;
use crate::socket::Socket;
use crate::sync::GaugeGuard;

/// Version of HTTP of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NegotiatedVersion {
    H1,
    H2,
}

/// Result of the negotiations of one pool's connections.
#[derive(Clone, Default)]
pub(super) struct Negotiation(#[cfg(feature = "tls")] Option<Arc<NewestVersion>>);

impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Negotiation")
    }
}

impl Negotiation {
    /// Returns a connection for the pool of a version, or passes the connection on.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`, when the connection has another version.
    #[cfg(feature = "tls")]
    pub(super) async fn admit(
        &self,
        wanted: NegotiatedVersion,
        socket: Socket,
        open: GaugeGuard,
        authority: &str,
    ) -> Result<(Socket, GaugeGuard), Error> {
        let Socket::Tls(tls) = &socket else { return Ok((socket, open)) };
        let version = if tls.is_h2() { NegotiatedVersion::H2 } else { NegotiatedVersion::H1 };
        let Some(newest) = &self.0 else {
            return match version == wanted {
                true => Ok((socket, open)),
                // A server that negotiates nothing speaks HTTP/1.1.
                false => Err(no_h2(authority)),
            };
        };
        if version == wanted {
            newest.set(version);
            return Ok((socket, open));
        }
        // Boxed: rare, and inline it would enlarge every dial.
        Box::pin(newest.pass_on(version, socket, open)).await;
        Err(other_version(authority))
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_async, reason = "with TLS, connections are passed on")]
    pub(super) async fn admit(
        &self,
        _: NegotiatedVersion,
        socket: Socket,
        open: GaugeGuard,
        _: &str,
    ) -> Result<(Socket, GaugeGuard), Error> {
        Ok((socket, open))
    }
}

/// The pools of both versions.
#[cfg(feature = "tls")]
pub(crate) struct BothPools {
    pub(crate) h1: H1Pool,
    pub(crate) h2: H2Pool,
    newest: Arc<NewestVersion>,
}

/// Version of the newest connection, and where a connection of each version belongs.
#[cfg(feature = "tls")]
#[derive(Default)]
struct NewestVersion {
    is_h1: AtomicBool,
    h1: OnceLock<Weak<H1Shared>>,
    h2: OnceLock<Weak<H2Shared>>,
}

#[cfg(feature = "tls")]
impl BothPools {
    pub(crate) fn new(dialer: &Arc<Dialer>, host: http::HeaderValue, config: &HttpConfig) -> Self {
        let newest = Arc::<NewestVersion>::default();
        let negotiation = || Negotiation(Some(Arc::clone(&newest)));
        let h1 = H1Pool::negotiated(Arc::clone(dialer), host, config, negotiation());
        let h2 = H2Pool::negotiated(Arc::clone(dialer), config, negotiation());
        // Both are set once, here.
        let _ = newest.h1.set(h1.downgrade());
        let _ = newest.h2.set(h2.downgrade());
        Self { h1, h2, newest }
    }

    /// Adds a note to the error of an attempt that expired while it waited in one of the pools.
    pub(crate) fn noted(&self, error: Error) -> Error {
        match self.version() {
            NegotiatedVersion::H1 => self.h1.noted(error),
            NegotiatedVersion::H2 => self.h2.noted(error),
        }
    }

    /// Returns the version whose pool serves the next call.
    pub(crate) fn version(&self) -> NegotiatedVersion {
        match self.newest.is_h1.load(Ordering::Acquire) {
            true => NegotiatedVersion::H1,
            false => NegotiatedVersion::H2,
        }
    }
}

#[cfg(feature = "tls")]
impl RuntimePool for BothPools {
    fn is_empty(&self) -> bool {
        self.h1.is_empty() && self.h2.is_empty()
    }
}

#[cfg(feature = "tls")]
impl NewestVersion {
    fn set(&self, version: NegotiatedVersion) {
        self.is_h1.store(version == NegotiatedVersion::H1, Ordering::Release);
    }

    /// Gives a connection to the pool of its version, from which calls take it from then on.
    async fn pass_on(&self, version: NegotiatedVersion, socket: Socket, open: GaugeGuard) {
        match version {
            NegotiatedVersion::H1 => {
                if let Some(pool) = self.h1.get().and_then(Weak::upgrade) {
                    pool.adopt(socket, open).await;
                }
            }
            NegotiatedVersion::H2 => {
                if let Some(pool) = self.h2.get().and_then(Weak::upgrade) {
                    pool.adopt(socket, open).await;
                }
            }
        }
        self.set(version);
    }
}

/// Source of the error of a call that waited in the pool of the other version.
#[cfg(feature = "tls")]
#[derive(Debug)]
struct OtherVersion;

#[cfg(feature = "tls")]
impl fmt::Display for OtherVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection has another version of HTTP")
    }
}

#[cfg(feature = "tls")]
impl std::error::Error for OtherVersion {}

/// Makes the error that sends a call to the other pool. The application sees it only if the server
/// changes its version with every connection.
#[cfg(feature = "tls")]
fn other_version(authority: &str) -> Error {
    let message = format!("{authority} changes its version of HTTP with every connection");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_hint("select a version that all servers of the name speak, such as `version=h1`")
        .with_source(OtherVersion)
}

/// Returns whether a call waited in the pool of the other version. It was not sent.
#[cfg(feature = "tls")]
pub(crate) fn is_other_version(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<OtherVersion>())
}

#[cfg(feature = "tls")]
fn no_h2(authority: &str) -> Error {
    let message = format!("{authority} does not speak HTTP/2 over TLS (ALPN)");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CONNECT_FAILED, message)
        .with_hint("leave out `version=h2`, so that the server decides")
}
