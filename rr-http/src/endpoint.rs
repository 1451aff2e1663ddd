//! Where a URL points.

use rr_spi::{Code, Delivery, Error, Location};

/// Where a URL points: an address, and the prefix of every path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// Empty, or with a leading and without a trailing slash.
    pub(crate) prefix: String,
    /// What goes into `Host`.
    pub(crate) authority: String,
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

/// The port of a URL that names none (RFC 9110 §4.2.1).
const PORT_DEFAULT: u16 = 80;

impl Endpoint {
    /// Reads the parts of a URL.
    pub(crate) fn of(location: &Location) -> Result<Self, Error> {
        match location.scheme() {
            "http" => Self::tcp(location),
            #[cfg(unix)]
            "http+unix" => Self::unix(location),
            "https" => Err(invalid("https is not compiled in")
                .with_hint("use http:// behind something that ends TLS, or a unix socket")),
            _ => Err(invalid("this transport speaks http:// and http+unix://")),
        }
    }

    fn tcp(location: &Location) -> Result<Self, Error> {
        let authority = location.authority();
        if authority.contains('@') {
            return Err(invalid("credentials in the URL are not supported"));
        }
        let (host, port) = split_port(authority)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(invalid("the URL's host is malformed"));
        }
        Ok(Self {
            address: Address::Tcp { host: host.to_owned(), port },
            prefix: prefix(location.path())?,
            authority: authority.to_owned(),
        })
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
        })
    }
}

/// Splits `host:port`; the brackets around an IPv6 address are taken off.
fn split_port(authority: &str) -> Result<(&str, u16), Error> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) =
                rest.split_once(']').ok_or_else(|| invalid("the URL's host is malformed"))?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.map_or(Ok(PORT_DEFAULT), str::parse);
    Ok((host, port.map_err(|_| invalid("the URL's port is no port"))?))
}

/// Checks a path that is put before every target's.
fn prefix(path: &str) -> Result<String, Error> {
    let path = path.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if !path.bytes().all(plain) || path.contains("//") {
        return Err(invalid("the URL's path has more than letters, digits and -._~"));
    }
    Ok(path.to_owned())
}

fn invalid(message: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
        .with_hint("a URL looks like http://host:port/prefix or http+unix:///path/to.sock")
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
        #[cfg(unix)]
        assert_eq!(of("http+unix:///a/b").unwrap().address, Address::Unix("/a/b".into()));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for bad in [
            "https://a",
            "nats://a",
            "http://",
            "http://a:x",
            "http://[::1",
            "http://u:p@a",
            "http://a b",
            "http://a/b c",
            "http://a//b",
            "http+unix://host/a",
            "http+unix:///",
        ] {
            let error = of(bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{bad}");
            assert_eq!(error.delivery(), Delivery::NotSent);
        }
    }
}
