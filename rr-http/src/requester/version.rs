//! The version of HTTP that a requester speaks.

use rr_spi::{Code, Delivery, Error};

use crate::config::HttpVersion;
#[cfg(feature = "tls")]
use crate::endpoint::{Address, Endpoint};
#[cfg(feature = "tls")]
use crate::pool::Dialer;
#[cfg(feature = "tls")]
use crate::socket::{ALPN, H1, H2, TlsClient};

/// Who makes the byte streams of a requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// This crate, with TLS if the scheme is `https`.
    Sockets,
    /// The application, which has completed the handshake of TLS if the scheme is `https`.
    Streams,
}

/// What a requester speaks, by its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionChoice {
    H1,
    H2,
    /// The server chooses in the handshake of TLS.
    #[cfg(feature = "tls")]
    Server,
}

impl VersionChoice {
    /// Returns the choice for a configured version and a scheme.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the version does not exist over the scheme.
    pub(super) fn of(version: HttpVersion, scheme: &str, ends: Ends) -> Result<Self, Error> {
        let is_tls = scheme == "https";
        match version {
            #[cfg(feature = "tls")]
            HttpVersion::Auto if is_tls && ends == Ends::Sockets => Ok(Self::Server),
            HttpVersion::Auto | HttpVersion::H1 => Ok(Self::H1),
            HttpVersion::H2 if !is_tls => Err(invalid("`version=h2` needs https://")
                .with_hint("without TLS, HTTP/2 is `version=h2c`")),
            HttpVersion::H2c if is_tls && ends == Ends::Sockets => {
                Err(invalid("`version=h2c` is HTTP/2 without TLS")
                    .with_hint("over https://, HTTP/2 is `version=h2`"))
            }
            HttpVersion::H2 | HttpVersion::H2c => Ok(Self::H2),
        }
    }
}

/// Adds TLS to the dialer of an `https` URL.
#[cfg(feature = "tls")]
pub(super) fn with_tls(
    dialer: Dialer,
    choice: VersionChoice,
    ends: Ends,
    endpoint: &Endpoint,
    config: &rr_tls::TlsConfig,
) -> Result<Dialer, Error> {
    let Address::Tcp { host, .. } = &endpoint.address else { return Ok(dialer) };
    if endpoint.scheme != "https" || ends == Ends::Streams {
        return Ok(dialer);
    }
    let offers: &[&[u8]] = match choice {
        VersionChoice::H1 => &[H1],
        VersionChoice::H2 => &[H2],
        VersionChoice::Server => ALPN,
    };
    Ok(dialer.with_tls(TlsClient::new(config, offers, (&endpoint.authority, host))?))
}

fn invalid(message: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_its_own_name_for_http_2() {
        use Ends::{Sockets, Streams};
        use HttpVersion::{Auto, H1, H2, H2c};
        let of = |version, scheme, ends| VersionChoice::of(version, scheme, ends);
        for (version, scheme, ends, expected) in [
            (Auto, "http", Sockets, VersionChoice::H1),
            (H1, "http", Sockets, VersionChoice::H1),
            (H1, "https", Sockets, VersionChoice::H1),
            (H2c, "http", Sockets, VersionChoice::H2),
            (H2, "https", Sockets, VersionChoice::H2),
            (Auto, "https", Streams, VersionChoice::H1),
            (H2c, "https", Streams, VersionChoice::H2),
        ] {
            assert_eq!(of(version, scheme, ends).unwrap(), expected, "{version:?} {scheme}");
        }
        #[cfg(feature = "tls")]
        assert_eq!(of(Auto, "https", Sockets).unwrap(), VersionChoice::Server);
        for (version, scheme, hint) in
            [(H2, "http", "`version=h2c`"), (H2c, "https", "`version=h2`")]
        {
            let error = of(version, scheme, Sockets).unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::InvalidArgument, Delivery::NotSent)
            );
            assert!(error.hint().contains(hint), "{}", error.hint());
        }
    }
}
