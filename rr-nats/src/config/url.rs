//! Applies a URL to configurations and validates the result.

use rr_spi::{Error, Location};

use super::{NatsConfig, NatsConnectionConfig, NatsServerConfig, check};
use crate::endpoint::Endpoint;

/// Applies a URL to the configurations of both ends and validates the result.
pub(crate) fn configure(
    location: &Location,
    endpoint: &Endpoint,
    client: NatsConfig,
    server: NatsServerConfig,
) -> Result<(NatsConfig, NatsServerConfig), Error> {
    let (mut client, mut server) = location.configure(client, server)?;
    client.connection.complete(endpoint)?;
    server.connection.complete(endpoint)?;
    if let Some(queue) = &server.queue {
        check::token("queue", queue)?;
    }
    check::version("version", &server.version)?;
    Ok((client, server))
}

impl NatsConnectionConfig {
    fn complete(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        if let Some(credentials) = &endpoint.credentials {
            self.credentials = credentials.clone();
        }
        check::tokens("name", &self.name)?;
        check::tokens("inbox_prefix", &self.inbox_prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rr_spi::{Code, Delivery, Limits};

    use super::super::{NatsCredentials, NatsDispatch};
    use super::*;

    fn requester(url: &str) -> Result<NatsConfig, Error> {
        let location = Location::parse(url)?;
        let endpoint = Endpoint::of(&location)?;
        Ok(configure(&location, &endpoint, NatsConfig::default(), NatsServerConfig::default())?.0)
    }

    fn server(url: &str, config: NatsServerConfig) -> Result<NatsServerConfig, Error> {
        let location = Location::parse(url)?;
        let endpoint = Endpoint::of(&location)?;
        Ok(configure(&location, &endpoint, NatsConfig::default(), config)?.1)
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
