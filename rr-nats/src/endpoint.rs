//! Server addresses, subject prefix, credentials and options of a `nats://` URL.

use std::borrow::Cow;

use rr_spi::wire::percent_decode;
use rr_spi::{Code, Delivery, Error, HostPort, Location};

use crate::config::{FILES, NatsConfig, NatsCredentials, NatsServerConfig};
use crate::scheme::Scheme;

/// Maximum number of hosts in one URL; a cluster announces its other members.
const HOSTS_MAX: usize = 16;

/// Maximum length of a subject prefix in bytes. Together with a target (256 bytes) it stays far
/// below the 4 KiB limit of a protocol line.
const PREFIX_BYTES_MAX: usize = 256;

/// Server addresses, subject prefix and credentials of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
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
        let scheme = Scheme::parse(location.scheme())?;
        let (user, hosts) = match location.authority().rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, location.authority()),
        };
        let address = |text| address(text, scheme.port_default());
        let addresses: Vec<_> = hosts.split(',').map(address).collect::<Result<_, _>>()?;
        if addresses.len() > HOSTS_MAX {
            return Err(invalid("the URL names more than 16 hosts"));
        }
        let credentials = user.map(credentials).transpose()?;
        Ok(Self { scheme, addresses, prefix: prefix(location.path())?, credentials })
    }
}

/// Parses a URL and applies it to the configurations of both ends, which it then validates.
pub(crate) fn configure(
    url: &str,
    client: NatsConfig,
    server: NatsServerConfig,
) -> Result<(Endpoint, NatsConfig, NatsServerConfig), Error> {
    let location = Location::parse(url)?;
    let endpoint = Endpoint::of(&location)?;
    check_credentials(&location, &endpoint)?;
    check_tls(&location, endpoint.scheme)?;
    #[cfg(feature = "tls")]
    rr_tls::check_url(&location)?;
    let (mut client, mut server) = location.configure(client, server)?;
    if let Some(credentials) = &endpoint.credentials {
        client.connection.credentials = credentials.clone();
        server.connection.credentials = credentials.clone();
    }
    client.connection.check()?;
    server.check()?;
    Ok((endpoint, client, server))
}

/// Checks that a URL has credentials in one place.
fn check_credentials(location: &Location, endpoint: &Endpoint) -> Result<(), Error> {
    let is_file = |name: &str| FILES.contains(&name);
    let files = location.query().filter(|(name, _)| is_file(name)).count();
    if files + usize::from(endpoint.credentials.is_some()) <= 1 {
        return Ok(());
    }
    let message = "the URL has several credentials";
    Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
        .with_hint("keep one of `user:password@`, `token@`, `credentials_file=` and `nkey_file=`"))
}

/// Checks that a URL that sets options of TLS also requires TLS.
fn check_tls(location: &Location, scheme: Scheme) -> Result<(), Error> {
    let Some(secure) = scheme.secure_form() else { return Ok(()) };
    location.check_no_tls().map_err(|error| {
        error.with_hint(format!("use `{secure}://`, or leave out the options of TLS"))
    })
}

/// Parses `host` or `host:port`, and adds the default port if there is none.
pub(crate) fn address(text: &str, port_default: u16) -> Result<String, Error> {
    let server = HostPort::parse(text).map_err(with_hint)?;
    if server.port == Some(0) || !server.zone.is_empty() {
        return Err(invalid("a NATS server has a port other than 0 and an address without a zone"));
    }
    let port = server.port.unwrap_or(port_default);
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
    use std::time::Duration;

    use proptest::prelude::*;
    use rr_spi::Limits;

    use super::*;
    use crate::config::{NatsConnectionConfig, NatsDispatch};

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
    fn malformed_subjects_and_hosts_are_refused() {
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

    fn requester(url: &str) -> Result<NatsConfig, Error> {
        Ok(configure(url, NatsConfig::default(), NatsServerConfig::default())?.1)
    }

    fn server(url: &str, config: NatsServerConfig) -> Result<NatsServerConfig, Error> {
        Ok(configure(url, NatsConfig::default(), config)?.2)
    }

    #[test]
    fn one_url_does_for_both_ends() {
        let url = "nats://t0ken@h?name=n&queue=blue&sole_group=true&inbox_prefix=_I.x&timeout=20ms\
                   &version=1.2.3&clocks_agree=true&ignore_discovered=true&members_interval=1s\
                   &dispatch=always&in_flight_max=7&request_bytes_max=100&response_bytes_max=200";
        let config = requester(url).unwrap();
        assert_eq!(config.connection.name, "n");
        assert_eq!(config.connection.inbox_prefix, "_I.x");
        assert_eq!(config.connection.credentials, NatsCredentials::Token("t0ken".to_owned()));
        assert_eq!((config.calls.timeout, config.clocks_agree), (Duration::from_millis(20), true));
        assert_eq!(config.in_flight_max, 7);
        assert!(config.connection.ignore_discovered);
        assert_eq!(config.connection.members_interval, Duration::from_secs(1));
        let limits = Limits::default().with_request_bytes_max(100).with_response_bytes_max(200);
        assert_eq!(config.calls.limits, limits);
        let config = server(url, NatsServerConfig::default()).unwrap();
        assert_eq!((config.queue.as_deref(), config.sole_group), (Some("blue"), true));
        assert_eq!((config.version.as_str(), config.clocks_agree), ("1.2.3", true));
        assert_eq!((config.dispatch, config.intake.in_flight_max), (NatsDispatch::Always, 7));
        assert_eq!(config.intake.limits, limits);
        assert!(!format!("{config:?}").contains("t0ken"));
        assert_eq!(server("nats://h?queue=", config).unwrap().queue, None);
    }

    #[test]
    fn mistakes_are_refused_by_name_and_the_hint_shows_the_good_form() {
        let error = requester("nats://h?quue=x").unwrap_err();
        assert!(error.hint().contains("queue"), "{}", error.hint());
        for (bad, good) in [
            ("inbox_prefix=a.*", "`_INBOX_orders`"),
            ("inbox_prefix=a..b", "`_INBOX_orders`"),
            ("inbox_prefix=", "`_INBOX_orders`"),
            ("name=%0d%0a", "`orders-1`"),
            ("name=a%20b", "`orders-1`"),
            ("name=", "`orders-1`"),
            ("queue=a.b", "`blue`"),
            ("queue=a%20b", "`blue`"),
            ("queue=%3e", "`blue`"),
            ("sole_group=1", "`true`"),
            ("dispatch=never", "`always`"),
            ("version=1", "`1.2.3`"),
            ("version=", "`1.2.3`"),
            ("connect_timeout=5", "`1500ms`"),
            ("clocks_agree=yes", "`true`"),
            ("request_bytes_max=1MiB", "`64`"),
            ("response_bytes_max=-1", "`64`"),
        ] {
            let error = server(&format!("nats://h?{bad}"), NatsServerConfig::default());
            let error = error.expect_err(bad);
            let told = (error.code(), error.delivery());
            assert_eq!(told, (Code::InvalidArgument, Delivery::NotSent), "{bad}");
            let key = bad.split('=').next().unwrap();
            assert!(error.message().contains(&format!("`{key}`")), "{error}");
            assert!(error.hint().contains(good), "{bad}: {}", error.hint());
        }
        for bad in [
            "inbox_prefix=a.*",
            "name=a%20b",
            "timeout=5",
            "in_flight_max=-1",
            "request_bytes_max=",
        ] {
            assert!(requester(&format!("nats://h?{bad}")).is_err(), "{bad}");
        }
    }

    #[cfg(feature = "nkeys")]
    #[test]
    fn a_url_names_the_files_of_credentials_one_at_most() {
        let credentials = |url| requester(url).map(|config| config.connection.credentials);
        for (url, expected) in [
            ("nats://h?nkey_file=%2fa.nk", NatsCredentials::NkeyFile("/a.nk".into())),
            ("nats://h?credentials_file=b", NatsCredentials::CredentialsFile("b".into())),
        ] {
            assert_eq!(credentials(url).unwrap(), expected);
        }
        for bad in [
            "nats://h?nkey_file=",
            "nats://t0ken@h?nkey_file=a",
            "nats://h?credentials_file=a&nkey_file=a",
        ] {
            let error = credentials(bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{bad}");
            assert!(error.hint().contains("file"), "{bad}: {}", error.hint());
        }
    }

    #[cfg(feature = "nkeys")]
    #[test]
    fn a_secret_where_a_path_belongs_is_refused_and_not_shown() {
        let seed = nkeys::KeyPair::new_user().seed().unwrap();
        let file = "-----BEGIN%20USER%20NKEY%20SEED-----%0ASUAPLANTED";
        let jwt = "eyJ0eXAiOiJKV1QifQ.eyJqdGkiOiJQTEFOVEVEIn0.sig";
        for secret in [seed.as_str(), file, jwt] {
            for option in FILES {
                let error = requester(&format!("nats://h?{option}={secret}")).unwrap_err();
                let told = (error.code(), error.delivery());
                assert_eq!(told, (Code::InvalidArgument, Delivery::NotSent), "{error}");
                assert!(error.message().contains(option) && error.hint().contains("path"));
                let shown = format!("{error:?} {error}");
                assert!(!shown.contains(secret) && !shown.contains("PLANTED"), "{shown}");
                let path = format!("./{secret}");
                assert!(secret == file || requester(&format!("nats://h?{option}={path}")).is_ok());
            }
            for credentials in [
                NatsCredentials::NkeyFile(secret.into()),
                NatsCredentials::CredentialsFile(secret.into()),
            ] {
                assert!(!format!("{credentials:?}").contains(secret), "{credentials:?}");
            }
        }
    }

    #[cfg(not(feature = "nkeys"))]
    #[test]
    fn the_error_for_a_credentials_file_names_the_feature_that_reads_it() {
        let error = requester("nats://h?credentials_file=a.creds").unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert!(error.hint().contains("`nkeys`"), "{}", error.hint());
    }

    #[test]
    fn options_set_in_code_are_checked_as_well() {
        let good = NatsServerConfig::default();
        assert!(server("nats://h", good.clone()).is_ok());
        for bad in [
            good.clone().with_version("v1.0.0"),
            good.clone().with_queue(Some(String::new())),
            good.clone().with_queue(Some("a b".to_owned())),
            good.clone().with_connection(NatsConnectionConfig::default().with_name("a\r\nPUB")),
            good.with_connection(NatsConnectionConfig::default().with_inbox_prefix("")),
        ] {
            assert!(server("nats://h", bad.clone()).is_err(), "{bad:?}");
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

        #[test]
        fn nothing_panics_and_nothing_that_could_split_a_line_passes(
            key in prop::sample::select(["name", "queue", "inbox_prefix", "version"].as_slice()),
            value in "\\PC{0,20}|[ \r\n\t.*>a]{0,6}",
        ) {
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let url = format!("nats://h?{key}={escaped}");
            if server(&url, NatsServerConfig::default()).is_ok() {
                let plain = |byte: u8| byte.is_ascii_graphic() && !b"*>".contains(&byte);
                prop_assert!(value.bytes().all(plain), "{value:?}");
            }
        }
    }
}
