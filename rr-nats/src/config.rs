//! What can be set: of a connection, of a requester, of a server.

mod check;
pub(crate) mod url;

use std::fmt;
use std::time::Duration;

use rr_spi::options::Options;
use rr_spi::{CallConfig, IntakeConfig, defaults};
use serde::Deserialize;
use serde::de::value::Error as Unfit;

/// Who a connection says it is. `Debug` hides it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NatsCredentials {
    /// Nobody: for servers that do not ask.
    #[default]
    None,
    /// A user and a password.
    UserPassword {
        /// The name of the user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl fmt::Debug for NatsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::UserPassword { .. } => "UserPassword(***)",
            Self::Token(_) => "Token(***)",
        })
    }
}

/// A URL sets credentials before the `@`, not by name.
impl Options for NatsCredentials {
    fn names(_: &mut dyn FnMut(&'static str)) {}

    fn set(&mut self, _: &str, _: &str) -> Result<bool, Unfit> {
        Ok(false)
    }
}

rr_spi::options! {
    /// What both ends do with their connection.
    ///
    /// # Examples
    ///
    /// ```
    /// let connection = rr_nats::NatsConnectionConfig::default().with_name("orders");
    /// assert_eq!(connection.inbox_prefix, "_INBOX");
    /// ```
    pub struct NatsConnectionConfig {
        /// The name that the server shows for the connection: tokens separated by dots, at most 128
        /// bytes. Default `rr`.
        pub name: String = "rr".to_owned(), with_name(impl Into<String>);
        /// What the subjects for replies start with: tokens separated by dots, at most 128 bytes.
        /// Default `_INBOX`; a user whose permissions name another one sets it here.
        pub inbox_prefix: String = "_INBOX".to_owned(), with_inbox_prefix(impl Into<String>);
        /// Time for one connection to be made, the proof by a round trip included. Default 5 s; 0
        /// never connects.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connect_timeout: Duration = defaults::CONNECT_TIMEOUT, with_connect_timeout(Duration);
        /// How often an idle connection is tested; it is given up after three tests without an
        /// answer. Default 20 s; at least 10 ms is used.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub ping_interval: Duration = Duration::from_secs(20), with_ping_interval(Duration);
        /// Longest pause between two attempts to connect. Default 2 s; 0 tries without pause.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub reconnect_delay_max: Duration = Duration::from_secs(2),
            with_reconnect_delay_max(Duration);
        /// Longest pause between two questions to the server for the members of its cluster that have
        /// come since. Default 1 min; 0 asks none, and only what the server announces when a
        /// connection is made is known. At least 100 ms is used. Once a message was too long for the
        /// user or account, the server is asked for their limit as often, at least each minute.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub members_interval: Duration = Duration::from_secs(60), with_members_interval(Duration);
        /// Whether addresses that servers announce are ignored, since they lead nowhere from here:
        /// only those of the URL are tried. Default false.
        pub ignore_discovered: bool = false, with_ignore_discovered(bool);
        /// Most messages that wait for the connection to take them; further ones wait within their
        /// deadline. Default 256: what waits here when the server stalls is sent late, so few may.
        /// At least 1 is used.
        pub outgoing_max: usize = 256, with_outgoing_max(usize);
    }
    parts {
        /// Who the connection says it is. Default nobody; those of a URL take precedence.
        pub credentials: NatsCredentials, with_credentials;
    }
}

rr_spi::options! {
    /// What a requester may use, and for how long.
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
        /// Longest wait of a call for a connection while there is none, within its deadline. Default
        /// 1 s, in which another server of a cluster takes over; 0 fails immediately. The first
        /// connection, and the verdict on one that has gone silent, are always waited for.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connection_wait: Duration = Duration::from_secs(1), with_connection_wait(Duration);
        /// Most calls in flight; further ones wait within their deadline. A call that ended early
        /// counts until its cancel message has left. Default 4096; 0 lets every call wait until its
        /// deadline.
        pub in_flight_max: usize = 4096, with_in_flight_max(usize);
        /// Whether handlers are told when a call is dropped or cancelled. Default true; it takes the
        /// permission to publish on `_RR.cancel.>`, and switches itself off without it.
        pub cancel: bool = true, with_cancel(bool);
        /// Whether the clocks of both ends are known to agree: then a request that has a deadline
        /// says when it was sent. Default false.
        pub clocks_agree: bool = false, with_clocks_agree(bool);
    }
    parts {
        /// What the requester does with its connection.
        pub connection: NatsConnectionConfig, with_connection;
        /// What each call is granted.
        pub calls: CallConfig, with_calls;
    }
}

/// The default queue group (ADR-32).
pub(crate) const QUEUE: &str = "q";

/// Where a server runs its handlers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NatsDispatch {
    /// In the loop that receives, as far as they get without waiting; then in a task. The fastest
    /// for handlers that answer immediately or wait. After a first poll of 10 ms or more, each of
    /// the subscription's requests gets a task from the start, for 1 s, and for up to 64 s when slow
    /// polls come back.
    #[default]
    WhenPending,
    /// Each in a task from the start: for handlers that compute for long.
    Always,
}

rr_spi::options! {
    /// What a server subscribes to, and what it grants.
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
        /// The queue group, one token: of the servers in one, each request reaches one. Default `q`
        /// (ADR-32); none, which is an empty text in a URL, lets every server answer every request.
        ///
        /// Serve one target in one group. Each group receives every request, so that refusals of
        /// another group than `q`, or without one, say `Unknown` instead of `Rejected`.
        pub queue: Option<String> = Some(QUEUE.to_owned()), with_queue(Option<String>);
        /// Whether the queue group is the only one that serves these targets: then its refusals say
        /// `Rejected`, whatever its name. Default false, which trusts only the group `q`, and of it
        /// only refusals of requests from its own account; without a group it does nothing.
        pub sole_group: bool = false, with_sole_group(bool);
        /// Where handlers run. Default: in a task only when they have to wait, or compute for long.
        pub dispatch: NatsDispatch = NatsDispatch::WhenPending, with_dispatch(NatsDispatch);
        /// Whether a drain ends subscriptions by count, as it does where the server does not keep
        /// the order of messages of one connection: as safe, and slower. Default false.
        pub drain_by_count: bool = false, with_drain_by_count(bool);
        /// Whether callers may cancel. Default true.
        pub cancel: bool = true, with_cancel(bool);
        /// Whether the clocks of both ends are known to agree, to much less than the time of a call:
        /// then the time that a request has spent in queues, where it says when it was sent, is taken
        /// off its timeout. Default false; a send time in the future, or more than 5 min ago, is a
        /// wrong clock and counts for nothing.
        pub clocks_agree: bool = false, with_clocks_agree(bool);
        /// Whether `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` are answered (ADR-32). Default true.
        pub discovery: bool = true, with_discovery(bool);
        /// The version of the services for discovery, a semantic version. Default `0.0.0`.
        pub version: String = "0.0.0".to_owned(), with_version(impl Into<String>);
        /// Most requests of one subscription that wait, with their time running, while handlers
        /// compute; further ones are refused. Default 16384; one may always wait.
        pub waiting_max: usize = 16 * 1024, with_waiting_max(usize);
        /// Longest bodies of the requests that wait on one subscription, in bytes together. Default
        /// 64 MiB; one may always wait.
        pub waiting_bytes_max: usize = 64 * 1024 * 1024, with_waiting_bytes_max(usize);
    }
    parts {
        /// What the server does with its connection.
        pub connection: NatsConnectionConfig, with_connection;
        /// What requests are granted. Their headers count as bytes of bodies, so that a limit of 0
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
        assert!(serde_json::from_str::<NatsConfig>(r#"{"tiemout":"1s"}"#).is_err());
        assert!(serde_json::from_str::<NatsServerConfig>(r#"{"connection":{"nmae":""}}"#).is_err());
        let text = r#"{"queue":null,"dispatch":"always"}"#;
        let config: NatsServerConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.queue, config.dispatch), (None, NatsDispatch::Always));
    }
}
