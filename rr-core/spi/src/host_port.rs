//! Host and port of a URL's authority: one grammar for all transports.

use std::net::Ipv6Addr;

use crate::error::Error;

/// Host and port of one server in a URL's authority (RFC 3986 §3.2.2, §3.2.3).
///
/// # Examples
///
/// ```
/// use rr_spi::HostPort;
///
/// let server = HostPort::parse("[fe80::1%25eth0]:81")?;
/// assert_eq!((server.host, server.zone, server.port), ("fe80::1", "eth0", Some(81)));
/// assert!(HostPort::parse("95:55nt000]0").is_err());
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostPort<'a> {
    /// Name, IPv4 address, or IPv6 address without brackets and zone.
    pub host: &'a str,
    /// Zone of an IPv6 address; empty without one.
    pub zone: &'a str,
    /// Whether the host is an IPv6 address, which is written in brackets.
    pub is_ipv6: bool,
    /// Port, if there is one.
    pub port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// Parses `host`, `host:port`, `[ipv6]` or `[ipv6%zone]:port`.
    ///
    /// A name has letters, digits, `-`, `.` and `_`. The `%` before a zone may be escaped as `%25`
    /// (RFC 6874).
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the host or the port is malformed.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, rest) = rest.split_once(']').ok_or_else(bad_host)?;
            let (host, zone) = split_zone(inner)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(parse_port(port)?),
                None if rest.is_empty() => None,
                None => return Err(bad_host()),
            };
            return Ok(Self { host, zone, is_ipv6: true, port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if host.is_empty() || !host.bytes().all(is_plain) {
            return Err(bad_host());
        }
        let port = port.map(parse_port).transpose()?;
        Ok(Self { host, zone: "", is_ipv6: false, port })
    }
}

fn split_zone(inner: &str) -> Result<(&str, &str), Error> {
    let (address, zone) = match inner.split_once('%') {
        Some((address, zone)) => (address, zone.strip_prefix("25").unwrap_or(zone)),
        None => (inner, ""),
    };
    let is_named = !zone.is_empty() || !inner.contains('%');
    if !is_named || !zone.bytes().all(is_plain) || address.parse::<Ipv6Addr>().is_err() {
        return Err(Error::invalid_argument("the URL's host is no IPv6 address"));
    }
    Ok((address, zone))
}

fn parse_port(text: &str) -> Result<u16, Error> {
    let port = text.parse().ok().filter(|_| !text.starts_with('+'));
    port.ok_or_else(|| Error::invalid_argument("the URL's port is no port"))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

fn bad_host() -> Error {
    Error::invalid_argument("the URL's host is malformed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Code;

    #[test]
    fn malformed_hosts_and_ports_are_refused() {
        for bad in [
            "",
            ":1",
            "a:",
            "a:x",
            "a:+1",
            "a:99999",
            "a b",
            "a%20b",
            "::1",
            "[::1",
            "[::1]x",
            "[a]",
            "[]",
            "[fe80::1%]",
            "[fe80::1%a b]",
            "95:55nt000]0",
            "a]",
            "a@b",
        ] {
            assert_eq!(HostPort::parse(bad).unwrap_err().code(), Code::InvalidArgument, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_host_parses_again_to_the_same(text in "\\[?[a-z0-9.:%_-]{1,12}\\]?(:[0-9]{1,5})?") {
            if let Ok(parsed) = HostPort::parse(&text) {
                let zone = if parsed.zone.is_empty() { String::new() } else { format!("%{}", parsed.zone) };
                let host = match parsed.is_ipv6 {
                    true => format!("[{}{zone}]", parsed.host),
                    false => parsed.host.to_owned(),
                };
                let again = parsed.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
                prop_assert_eq!(HostPort::parse(&again).ok(), Some(parsed));
            }
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = HostPort::parse(&text);
        }
    }
}
