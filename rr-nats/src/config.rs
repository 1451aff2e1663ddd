//! Options of connections, requesters and servers.

mod check;
mod credentials;
#[cfg(feature = "nkeys")]
pub(crate) mod keys;

use std::time::Duration;

use rr_spi::{CallConfig, IntakeConfig, defaults};
use serde::Deserialize;

pub(crate) use credentials::FILES;
pub use credentials::{NatsAuth, NatsAuthCallback, NatsCredentials};

rr_spi::options! {
    /// Connection options of requesters and servers.
    ///
    /// # Examples
    ///
    /// ```
    /// let connection = rr_nats::NatsConnectionConfig::default().with_name("orders");
    /// assert_eq!(connection.inbox_prefix, "_INBOX");
    /// ```
    pub struct NatsConnectionConfig {
        /// Name that the NATS server shows for the connection: tokens separated by dots, at most
        /// 128 bytes. Default `rr`.
        pub name: String = "rr".to_owned(), with_name(impl Into<String>);
        /// Prefix of reply subjects: tokens separated by dots, at most 128 bytes. Default `_INBOX`.
        /// Set it if the permissions of the user name another prefix.
        pub inbox_prefix: String = "_INBOX".to_owned(), with_inbox_prefix(impl Into<String>);
        /// Time limit for making one connection, the proof by a round trip included. Default 5 s; 0
        /// never connects.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connect_timeout: Duration = defaults::CONNECT_TIMEOUT, with_connect_timeout(Duration);
        /// Interval between pings on an idle connection. The connection is given up after three
        /// unanswered pings. Default 20 s; shorter intervals than 10 ms count as 10 ms.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub ping_interval: Duration = Duration::from_secs(20), with_ping_interval(Duration);
        /// Longest pause between two attempts to connect. Default 2 s; 0 connects again without a
        /// pause.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub reconnect_delay_max: Duration = Duration::from_secs(2),
            with_reconnect_delay_max(Duration);
        /// Longest pause between two requests to the server for members that have joined its
        /// cluster. Default 1 min; 0 sends none, so that only the members announced when a
        /// connection is made are known. Shorter intervals than 100 ms count as 100 ms. Once a
        /// message was too long for the user or account, the server is asked for their limit at the
        /// same interval, at least once a minute.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub members_interval: Duration = Duration::from_secs(60), with_members_interval(Duration);
        /// Whether addresses that servers announce are ignored because they are unreachable from
        /// this host: only those of the URL are tried. Default false.
        pub ignore_discovered: bool = false, with_ignore_discovered(bool);
        /// Maximum number of messages queued for the connection; further messages wait within the
        /// deadline of their call. Default 256, kept low because messages queued while the server
        /// stalls are sent late. 0 counts as 1.
        pub outgoing_max: usize = 256, with_outgoing_max(usize);
        /// Whether TLS begins before the server has sent its first line, for servers whose `tls`
        /// block has `handshake_first: true`. Default false. Has no effect on `nats://` and `ws://`
        /// URLs, which refuse it in their query, and on `wss://`, where TLS always begins first.
        pub tls_first: bool = false, with_tls_first(bool);
    }
    parts {
        /// Credentials of the connection. Default none; credentials in the URL take precedence. A
        /// URL has a user and a password or a token before its `@`, or names a file by the option
        /// `credentials_file` or `nkey_file`.
        pub credentials: NatsCredentials, with_credentials;
    }
    parts with "tls" {
        /// TLS of `nats+tls://`, `tls://` and `wss://` URLs. It has no effect on others, which refuse
        /// these options in their query.
        pub tls: rr_tls::TlsConfig, with_tls;
    }
}

rr_spi::options! {
    /// Options of a requester.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_nats::NatsConfig;
    ///
    /// let config = NatsConfig::default().with_in_flight_max(64);
    /// assert_eq!(config.in_flight_max, 64);
    /// ```
    pub struct NatsConfig {
        /// Longest time that a call waits, within its deadline, while there is no connection.
        /// Default 1 s, in which another server of a cluster takes over; 0 fails immediately. Calls
        /// always wait for the first connection, and while a connection that has gone silent is
        /// being probed.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connection_wait: Duration = Duration::from_secs(1), with_connection_wait(Duration);
        /// Maximum number of calls in flight; further calls wait within their deadline. A call that
        /// ended early counts until its cancel message has left. Default 4096; 0 lets every call
        /// wait until its deadline.
        pub in_flight_max: usize = 4096, with_in_flight_max(usize);
        /// Whether a dropped or cancelled call cancels its handler. Default true. Requires the
        /// permission to publish on `_RR.cancel.>`, and switches itself off without it.
        pub cancel: bool = true, with_cancel(bool);
        /// Whether the clocks of both ends are known to agree: requests with a deadline then carry
        /// their send time. Default false.
        pub clocks_agree: bool = false, with_clocks_agree(bool);
    }
    parts {
        /// Connection options of the requester.
        pub connection: NatsConnectionConfig, with_connection;
    }
    common as NatsSection {
        /// Default timeout and body limits of calls.
        pub calls: CallConfig, with_calls;
    }
}

/// The default queue group (ADR-32).
pub(crate) const QUEUE: &str = "q";

/// Placement of a server's handlers: in its receive loop or in tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NatsDispatch {
    /// Polls a handler first in the receive loop, and moves the handler to a task if it is pending.
    /// Fastest for handlers that answer immediately or wait. After a first poll of 10 ms or more,
    /// each request of the subscription gets a task from the start, for 1 s, and for up to 64 s if
    /// slow polls recur.
    #[default]
    WhenPending,
    /// Runs each handler in a task from the start: for handlers that compute for long.
    Always,
}

rr_spi::options! {
    /// Options of a server.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_nats::NatsServerConfig;
    ///
    /// let config = NatsServerConfig::default().with_queue(Some("blue".to_owned()));
    /// assert_eq!(config.queue.as_deref(), Some("blue"));
    /// ```
    pub struct NatsServerConfig {
        /// Queue group, one token: each request reaches one server of the group. Default `q`
        /// (ADR-32). With `None`, an empty value in a URL, every server answers every request.
        ///
        /// Serve a target in one group only. Each group receives every request, so that refusals by
        /// a group other than `q`, or without a group, are `Unknown` instead of `Rejected`.
        pub queue: Option<String> = Some(QUEUE.to_owned()), with_queue(Option<String>);
        /// Whether the queue group is the only one that serves these targets: its refusals are then
        /// `Rejected`, whatever its name. Default false: only refusals by the group `q` are
        /// `Rejected`, and only for requests from its own account. Has no effect without a group.
        pub sole_group: bool = false, with_sole_group(bool);
        /// Placement of handlers. Default: in a task only if they have to wait or compute for long.
        pub dispatch: NatsDispatch = NatsDispatch::WhenPending, with_dispatch(NatsDispatch);
        /// Whether a drain ends subscriptions by message count, for servers that do not keep the
        /// order of messages of one connection: as safe, and slower. Default false.
        pub drain_by_count: bool = false, with_drain_by_count(bool);
        /// Whether callers may cancel requests. Default true.
        pub cancel: bool = true, with_cancel(bool);
        /// Whether the clocks of both ends are known to agree, to much less than the time of a
        /// call. The server then subtracts the time since a request was sent from its timeout, if
        /// the request carries its send time. Default false. A send time in the future, or more
        /// than 5 min ago, shows a wrong clock and is ignored.
        pub clocks_agree: bool = false, with_clocks_agree(bool);
        /// Whether `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` are answered (ADR-32). Default true.
        pub discovery: bool = true, with_discovery(bool);
        /// Version of the services for discovery, a semantic version. Default `0.0.0`.
        pub version: String = "0.0.0".to_owned(), with_version(impl Into<String>);
        /// Maximum number of requests of one subscription that wait, with their timeouts running,
        /// while handlers compute; further requests are refused. Default 16384; one request may
        /// always wait.
        pub waiting_max: usize = 16 * 1024, with_waiting_max(usize);
        /// Maximum total body length of the requests that wait on one subscription, in bytes.
        /// Default 64 MiB; one request may always wait.
        pub waiting_bytes_max: usize = 64 * 1024 * 1024, with_waiting_bytes_max(usize);
    }
    parts {
        /// Connection options of the server.
        pub connection: NatsConnectionConfig, with_connection;
    }
    common as NatsServerSection {
        /// Timeouts and limits of requests. Headers count towards `bodies_bytes_max`, so that 0
        /// allows only empty requests without headers.
        pub intake: IntakeConfig, with_intake;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_refuses_unknown_fields() {
        let text = r#"{"connection":{"name":"x","credentials":{"token":"t"}},"calls":{"timeout":"1500ms"}}"#;
        let config: NatsConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.calls.timeout, Duration::from_millis(1500));
        let text = r#"{"connection":{"credentials":{"credentials_file":"/a.creds"}}}"#;
        let config: NatsConfig = serde_json::from_str(text).unwrap();
        let expected = NatsCredentials::CredentialsFile("/a.creds".into());
        assert_eq!(config.connection.credentials, expected);
        assert!(serde_json::from_str::<NatsConfig>(r#"{"tiemout":"1s"}"#).is_err());
        assert!(serde_json::from_str::<NatsServerConfig>(r#"{"connection":{"nmae":""}}"#).is_err());
        let text = r#"{"queue":null,"dispatch":"always"}"#;
        let config: NatsServerConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.queue, config.dispatch), (None, NatsDispatch::Always));
    }
}
