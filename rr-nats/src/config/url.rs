//! What the query of a URL sets, and whether the whole of it fits.

use std::time::Duration;

use rr_spi::{Error, Location, duration};

use super::check::{self, unfit};
use super::{NatsConfig, NatsConnectionConfig, NatsDispatch, NatsServerConfig};
use crate::endpoint::Endpoint;

/// What a URL can set at both ends.
const COMMON: [&str; 10] = [
    "name",
    "in_flight_max",
    "inbox_prefix",
    "connect_timeout",
    "ping_interval",
    "members_interval",
    "ignore_discovered",
    "clocks_agree",
    "request_bytes_max",
    "response_bytes_max",
];
/// What a URL can set of a requester.
const OF_REQUESTER: [&str; 2] = ["timeout", "connection_wait"];
/// What a URL can set of a server.
const OF_SERVER: [&str; 5] = ["bodies_bytes_max", "dispatch", "queue", "sole_group", "version"];

impl NatsConnectionConfig {
    fn take_from(&mut self, location: &mut Location, endpoint: &Endpoint) -> Result<(), Error> {
        take(location, "name", &mut self.name, text)?;
        take(location, "inbox_prefix", &mut self.inbox_prefix, text)?;
        take(location, "connect_timeout", &mut self.connect_timeout, time)?;
        take(location, "ping_interval", &mut self.ping_interval, time)?;
        take(location, "members_interval", &mut self.members_interval, time)?;
        take(location, "ignore_discovered", &mut self.ignore_discovered, truth)?;
        if let Some(credentials) = &endpoint.credentials {
            self.credentials = credentials.clone();
        }
        check::tokens("name", &self.name)?;
        check::tokens("inbox_prefix", &self.inbox_prefix)
    }
}

impl NatsConfig {
    /// Takes over what a URL sets, and checks the whole; what is for servers alone is left aside.
    pub(crate) fn with_url(
        mut self,
        mut location: Location,
        endpoint: &Endpoint,
    ) -> Result<Self, Error> {
        let location = &mut location;
        self.connection.take_from(location, endpoint)?;
        take(location, "timeout", &mut self.timeout, time)?;
        take(location, "connection_wait", &mut self.connection_wait, time)?;
        take(location, "in_flight_max", &mut self.in_flight_max, number)?;
        take(location, "clocks_agree", &mut self.clocks_agree, truth)?;
        take(location, "request_bytes_max", &mut self.request_bytes_max, number)?;
        take(location, "response_bytes_max", &mut self.response_bytes_max, number)?;
        finish(location, &OF_SERVER)?;
        Ok(self)
    }
}

impl NatsServerConfig {
    /// Takes over what a URL sets, and checks the whole; what is for requesters alone is left
    /// aside.
    pub(crate) fn with_url(
        mut self,
        mut location: Location,
        endpoint: &Endpoint,
    ) -> Result<Self, Error> {
        let location = &mut location;
        self.connection.take_from(location, endpoint)?;
        let queue = |_: &str, text: &str| Ok((!text.is_empty()).then(|| text.to_owned()));
        take(location, "queue", &mut self.queue, queue)?;
        take(location, "sole_group", &mut self.sole_group, truth)?;
        take(location, "dispatch", &mut self.dispatch, dispatch)?;
        take(location, "version", &mut self.version, text)?;
        take(location, "bodies_bytes_max", &mut self.bodies_bytes_max, number)?;
        take(location, "in_flight_max", &mut self.in_flight_max, number)?;
        take(location, "clocks_agree", &mut self.clocks_agree, truth)?;
        take(location, "request_bytes_max", &mut self.request_bytes_max, number)?;
        take(location, "response_bytes_max", &mut self.response_bytes_max, number)?;
        finish(location, &OF_REQUESTER)?;
        if let Some(queue) = &self.queue {
            check::token("queue", queue)?;
        }
        check::version("version", &self.version)?;
        Ok(self)
    }
}

/// Leaves aside what is for the other end, and refuses what is for none.
fn finish(location: &mut Location, of_the_other: &[&str]) -> Result<(), Error> {
    for key in of_the_other {
        let _ = location.take(key);
    }
    location.finish(&[&COMMON[..], &OF_REQUESTER, &OF_SERVER].concat())
}

/// Reads the parameter of a key, where there is one; `parse` says what is wrong with it.
fn take<T>(
    location: &mut Location,
    key: &str,
    field: &mut T,
    parse: impl FnOnce(&str, &str) -> Result<T, Error>,
) -> Result<(), Error> {
    if let Some(text) = location.take(key) {
        *field = parse(key, &text)?;
    }
    Ok(())
}

/// Takes a text as it is: it is checked with the rest.
#[allow(clippy::unnecessary_wraps, reason = "the others can fail")]
fn text(_: &str, text: &str) -> Result<String, Error> {
    Ok(text.to_owned())
}

fn time(key: &str, text: &str) -> Result<Duration, Error> {
    duration::parse(text).ok_or_else(|| unfit(key, text, "a duration looks like `1500ms` or `2s`"))
}

fn number(key: &str, text: &str) -> Result<usize, Error> {
    text.parse().map_err(|_| unfit(key, text, "a number looks like `64`"))
}

fn dispatch(key: &str, text: &str) -> Result<NatsDispatch, Error> {
    match text {
        "when_pending" => Ok(NatsDispatch::WhenPending),
        "always" => Ok(NatsDispatch::Always),
        _ => Err(unfit(key, text, "it is `when_pending` or `always`")),
    }
}

fn truth(key: &str, text: &str) -> Result<bool, Error> {
    text.parse().map_err(|_| unfit(key, text, "it is `true` or `false`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::{Code, Delivery};

    use super::super::NatsCredentials;
    use super::*;

    fn requester(url: &str) -> Result<NatsConfig, Error> {
        let location = Location::parse(url)?;
        let endpoint = Endpoint::of(&location)?;
        NatsConfig::default().with_url(location, &endpoint)
    }

    fn server(url: &str, config: NatsServerConfig) -> Result<NatsServerConfig, Error> {
        let location = Location::parse(url)?;
        let endpoint = Endpoint::of(&location)?;
        config.with_url(location, &endpoint)
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
        assert_eq!((config.timeout, config.clocks_agree), (Duration::from_millis(20), true));
        assert_eq!(config.in_flight_max, 7);
        assert!(config.connection.ignore_discovered);
        assert_eq!(config.connection.members_interval, Duration::from_secs(1));
        assert_eq!((config.request_bytes_max, config.response_bytes_max), (100, 200));
        let config = server(url, NatsServerConfig::default()).unwrap();
        assert_eq!((config.queue.as_deref(), config.sole_group), (Some("blue"), true));
        assert_eq!((config.version.as_str(), config.clocks_agree), ("1.2.3", true));
        assert_eq!((config.dispatch, config.in_flight_max), (NatsDispatch::Always, 7));
        assert_eq!((config.request_bytes_max, config.response_bytes_max), (100, 200));
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

    #[test]
    fn what_no_url_said_is_checked_as_well() {
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
