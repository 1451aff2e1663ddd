//! Endpoints: the address and the path prefix of a URL.

use rr_spi::{Code, Delivery, Error, HostPort, Location};

/// Address that a URL names, and the prefix of every path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// Empty, or with a leading slash and without a trailing one.
    pub(crate) prefix: String,
    /// Value of `Host`.
    pub(crate) authority: String,
    /// `http` or `https`: the `:scheme` of HTTP/2 requests.
    pub(crate) scheme: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp {
        host: String,
        port: u16,
    },
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

/// Ports of a URL that gives no port (RFC 9110 §4.2).
const PORT_DEFAULT: u16 = 80;
const TLS_PORT_DEFAULT: u16 = 443;

impl Endpoint {
    /// Reads the parts of a URL. Options of TLS in its query are refused unless its scheme is
    /// `https`: a caller that sets them expects encryption.
    pub(crate) fn of(location: &Location) -> Result<Self, Error> {
        match location.scheme() {
            "http" => {
                refuse_tls(location, "use https://")?;
                Self::tcp(location, "http")
            }
            #[cfg(unix)]
            "http+unix" => {
                refuse_tls(location, "use https:// with a host and a port")?;
                Self::unix(location)
            }
            #[cfg(feature = "tls")]
            "https" => {
                rr_tls::check_url(location)?;
                Self::tcp(location, "https")
            }
            #[cfg(not(feature = "tls"))]
            "https" => Err(invalid("https is not compiled in").with_hint(
                "enable the feature `tls`, or use http:// behind something that ends TLS",
            )),
            _ => Err(invalid("this transport speaks http://, https:// and http+unix://")),
        }
    }

    /// Returns the URL of a TCP server that listens on this port.
    pub(crate) fn url(&self, host: &str, port: u16) -> String {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{}://{host}:{port}{}", self.scheme, self.prefix)
    }

    /// Reads the parts of a URL whose connections the application makes. Only the application knows
    /// whether they are encrypted.
    pub(crate) fn of_streams(location: &Location) -> Result<Self, Error> {
        refuse_tls(location, "the application makes these streams, and sets up their TLS")?;
        match location.scheme() {
            "http" => Self::tcp(location, "http"),
            "https" => Self::tcp(location, "https"),
            _ => Err(invalid("streams are named by http:// and https:// URLs")),
        }
    }

    fn tcp(location: &Location, scheme: &'static str) -> Result<Self, Error> {
        let authority = location.authority();
        if authority.contains('@') {
            return Err(invalid("credentials in the URL are not supported"));
        }
        if authority.contains(',') {
            return Err(invalid("the URL names several hosts").with_hint(
                "rr_core::connect balances calls over several hosts; a server has one host in its \
                 URL, and rr_core::serve_all serves at several URLs",
            ));
        }
        let server = HostPort::parse(authority).map_err(with_hint)?;
        let prefix = prefix(location.path())?;
        let default = if scheme == "https" { TLS_PORT_DEFAULT } else { PORT_DEFAULT };
        let port = server.port.unwrap_or(default);
        let host = match server.zone {
            "" => server.host.to_owned(),
            zone => format!("{}%{zone}", server.host),
        };
        // The zone is local to this machine and is not sent (RFC 6874 §4).
        let authority = match (server.is_ipv6, server.port) {
            (true, None) => format!("[{}]", server.host),
            (true, Some(port)) => format!("[{}]:{port}", server.host),
            (false, _) => authority.to_owned(),
        };
        Ok(Self { address: Address::Tcp { host, port }, prefix, authority, scheme })
    }

    #[cfg(unix)]
    fn unix(location: &Location) -> Result<Self, Error> {
        let path = location.path();
        if !location.authority().is_empty() || path.len() < 2 {
            return Err(invalid("a unix socket is given as http+unix:///path/to.sock"));
        }
        Ok(Self {
            address: Address::Unix(path.into()),
            prefix: String::new(),
            authority: "localhost".to_owned(),
            scheme: "http",
        })
    }
}

/// Refuses options of TLS, with a hint.
fn refuse_tls(location: &Location, hint: &'static str) -> Result<(), Error> {
    location.check_no_tls().map_err(|error| error.with_hint(hint))
}

/// Checks the prefix of every path, and removes its trailing slashes.
fn prefix(path: &str) -> Result<String, Error> {
    let path = path.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if !path.bytes().all(plain) || path.contains("//") {
        return Err(invalid("the URL's path has more than letters, digits and -._~"));
    }
    Ok(path.to_owned())
}

fn invalid(message: &'static str) -> Error {
    with_hint(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message))
}

fn with_hint(error: Error) -> Error {
    error.with_hint("a URL looks like http://host:port/prefix, https://host:port/prefix or http+unix:///path/to.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Endpoint, Error> {
        Endpoint::of(&Location::parse(url)?)
    }

    #[test]
    fn hosts_ports_and_prefixes_are_read() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
        assert_eq!(of("http://a").unwrap().address, tcp("a", 80));
        assert_eq!(of("http://[::1]:81/api/").unwrap().address, tcp("::1", 81));
        assert_eq!(of("http://[::1]:81/api/").unwrap().prefix, "/api");
        assert_eq!(of("http://a:1/").unwrap().authority, "a:1");
        for zone in ["%eth0", "%25eth0"] {
            let endpoint = of(&format!("http://[fe80::1{zone}]:81/api")).unwrap();
            assert_eq!(endpoint.address, tcp("fe80::1%eth0", 81));
            assert_eq!(endpoint.authority, "[fe80::1]:81");
        }
        #[cfg(feature = "tls")]
        assert_eq!(of("https://a").unwrap().address, tcp("a", 443));
        #[cfg(unix)]
        assert_eq!(of("http+unix:///a/b").unwrap().address, Address::Unix("/a/b".into()));
    }

    #[test]
    fn options_of_tls_are_refused_where_this_crate_does_not_encrypt() {
        let of_streams = |url: &str| Endpoint::of_streams(&Location::parse(url)?);
        for (outcome, hint) in [
            (of("http://a?tls_roots=/ca.pem"), "use https://"),
            (of("http://a?version=h1&tls_client_auth=required"), "use https://"),
            #[cfg(unix)]
            (of("http+unix:///a?tls_key=/k"), "use https://"),
            (of_streams("http://a?tls_roots=/ca.pem"), "application"),
            (of_streams("https://a?tls_roots=/ca.pem"), "application"),
        ] {
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::InvalidArgument, Delivery::NotSent)
            );
            assert!(error.message().contains("`tls_"), "{error}");
            assert!(error.hint().contains(hint), "{}", error.hint());
        }
        #[cfg(feature = "tls")]
        assert!(of("https://a?tls_roots=/ca.pem").is_ok());
    }

    #[test]
    fn impossible_urls_are_refused() {
        for bad in [
            #[cfg(not(feature = "tls"))]
            "https://a",
            "nats://a",
            "http://",
            "http://a:x",
            "http://a:+1",
            "http://a:",
            "http://[::1",
            "http://[::1]x",
            "http://[a]",
            "http://[]",
            "http://[fe80::1%]",
            "http://[fe80::1%a b]",
            "http://a%20b",
            "http://u:p@a",
            "http://a b",
            "http://a/b c",
            "http://a//b",
            "http://a:1,b:2",
            "http+unix://host/a",
            "http+unix:///",
        ] {
            let error = of(bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{bad}");
            assert_eq!(error.delivery(), Delivery::NotSent);
        }
    }
}
