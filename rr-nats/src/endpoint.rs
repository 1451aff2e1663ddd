//! Server addresses, subject prefix and credentials of a `nats://` URL.

use std::borrow::Cow;

use rr_spi::wire::percent_decode;
use rr_spi::{Code, Delivery, Error, HostPort, Location};

use crate::config::NatsCredentials;

/// Port of a host for which a URL names none.
const PORT_DEFAULT: u16 = 4222;

/// Maximum number of hosts in one URL; a cluster announces its other members.
const HOSTS_MAX: usize = 16;

/// Maximum length of a subject prefix in bytes. Together with a target (256 bytes) it stays far
/// below the 4 KiB limit of a protocol line.
const PREFIX_BYTES_MAX: usize = 256;

/// Server addresses, subject prefix and credentials of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host:port`, in the order of the URL; at least one.
    pub(crate) addresses: Vec<String>,
    /// Tokens separated by dots; empty if the URL has no path.
    pub(crate) prefix: String,
    /// Credentials before the `@`.
    pub(crate) credentials: Option<NatsCredentials>,
}

impl Endpoint {
    /// Parses the part of a URL before its query.
    pub(crate) fn of(location: &Location) -> Result<Self, Error> {
        if location.scheme() != "nats" {
            return Err(invalid("the scheme of a NATS URL is `nats`"));
        }
        let (user, hosts) = match location.authority().rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, location.authority()),
        };
        let addresses: Vec<_> = hosts.split(',').map(address).collect::<Result<_, _>>()?;
        if addresses.len() > HOSTS_MAX {
            return Err(invalid("the URL names more than 16 hosts"));
        }
        let credentials = user.map(credentials).transpose()?;
        Ok(Self { addresses, prefix: prefix(location.path())?, credentials })
    }
}

/// Parses `host` or `host:port`, and adds the default port if there is none.
pub(crate) fn address(text: &str) -> Result<String, Error> {
    let server = HostPort::parse(text).map_err(with_hint)?;
    if server.port == Some(0) || !server.zone.is_empty() {
        return Err(invalid("a NATS server has a port other than 0 and an address without a zone"));
    }
    let port = server.port.unwrap_or(PORT_DEFAULT);
    Ok(match server.is_ipv6 {
        true => format!("[{}]:{port}", server.host),
        false => format!("{}:{port}", server.host),
    })
}

/// Parses `user:password`, or a token alone.
fn credentials(text: &str) -> Result<NatsCredentials, Error> {
    Ok(match text.split_once(':') {
        Some((user, password)) => {
            NatsCredentials::UserPassword { user: decode(user)?, password: decode(password)? }
        }
        None => NatsCredentials::Token(decode(text)?),
    })
}

fn decode(text: &str) -> Result<String, Error> {
    let bytes = percent_decode(text).map(Cow::into_owned);
    let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| invalid("the credentials of the URL have a broken escape"))
}

fn prefix(path: &str) -> Result<String, Error> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let token = |token: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !token.is_empty() && token.bytes().all(plain)
    };
    if !path.is_empty() && (path.len() > PREFIX_BYTES_MAX || !path.split('/').all(token)) {
        let text = "the path of a NATS URL is a subject prefix of letters, digits, `_` and `-`";
        return Err(invalid(text));
    }
    Ok(path.replace('/', "."))
}

fn invalid(message: &'static str) -> Error {
    with_hint(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message))
}

fn with_hint(error: Error) -> Error {
    error.with_hint("a NATS URL looks like `nats://user:password@host1:4222,host2/prefix?name=x`")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, Error> {
        Endpoint::of(&Location::parse(url)?)
    }

    #[test]
    fn hosts_prefix_and_credentials_are_read() {
        let endpoint = endpoint("nats://me:p%40ss@a,b:1,[::1],[::1]:2/team/eu/").unwrap();
        assert_eq!(endpoint.addresses, ["a:4222", "b:1", "[::1]:4222", "[::1]:2"]);
        assert_eq!(endpoint.prefix, "team.eu");
        let NatsCredentials::UserPassword { user, password } =
            endpoint.credentials.clone().unwrap()
        else {
            panic!("{endpoint:?}")
        };
        assert_eq!((user.as_str(), password.as_str()), ("me", "p@ss"));
        assert!(!format!("{endpoint:?}").contains("p@ss"));
    }

    #[test]
    fn what_could_not_be_a_subject_or_a_host_is_refused() {
        for bad in [
            "nats://",
            "nats://a,",
            "nats://a:0",
            "nats://a:99999",
            "nats://a b",
            "http://a",
            "nats://::1",
            "nats://95:55nt000]0",
            "nats://[fe80::1%eth0]",
            "nats://a/x//y",
            "nats://a/*",
            "nats://a/x.y",
            "nats://a/%20",
        ] {
            assert_eq!(endpoint(bad).unwrap_err().code(), Code::InvalidArgument, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "nats://\\PC{0,40}") {
            let _ = endpoint(&text);
        }

        #[test]
        fn the_addresses_of_what_is_accepted_parse_to_the_same(
            hosts in "[a-z0-9.:\\[\\]_-]{1,20}(,[a-z0-9.:]{1,9})?",
            path in "(/[a-z]{1,5}){0,2}",
        ) {
            if let Ok(read) = endpoint(&format!("nats://{hosts}{path}")) {
                let whole = format!("nats://{}{path}", read.addresses.join(","));
                prop_assert_eq!(endpoint(&whole).unwrap(), read);
            }
        }
    }
}
