//! What can be set: of a connection, of a requester, of a server.

mod check;
mod url;

use std::fmt;
use std::time::Duration;

use rr_spi::{IntakeConfig, Limits, defaults};
use serde::Deserialize;

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

/// What both ends do with their connection.
///
/// # Examples
///
/// ```
/// let connection = rr_nats::NatsConnectionConfig::default().with_name("orders");
/// assert_eq!(connection.inbox_prefix, "_INBOX");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NatsConnectionConfig {
    /// Who the connection says it is. Default nobody; those of a URL take precedence.
    pub credentials: NatsCredentials,
    /// The name that the server shows for the connection: tokens separated by dots, at most 128
    /// bytes. Default `rr`.
    pub name: String,
    /// What the subjects for replies start with: tokens separated by dots, at most 128 bytes.
    /// Default `_INBOX`; a user whose permissions name another one sets it here.
    pub inbox_prefix: String,
    /// Time for one connection to be made, the proof by a round trip included. Default 5 s; 0
    /// never connects.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub connect_timeout: Duration,
    /// How often an idle connection is tested; it is given up after three tests without an
    /// answer. Default 20 s; at least 10 ms is used.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub ping_interval: Duration,
    /// Longest pause between two attempts to connect. Default 2 s; 0 tries without pause.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub reconnect_delay_max: Duration,
    /// Longest pause between two questions to the server for the members of its cluster that have
    /// come since. Default 1 min; 0 asks none, and only what the server announces when a connection
    /// is made is known. At least 100 ms is used. Once a message was too long for the user or
    /// account, the server is asked for their limit as often, at least each minute.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub members_interval: Duration,
    /// Whether addresses that servers announce are ignored, since they lead nowhere from here: only
    /// those of the URL are tried. Default false.
    pub ignore_discovered: bool,
    /// Most messages that wait for the connection to take them; further ones wait within their
    /// deadline. Default 256: what waits here when the server stalls is sent late, so few may. At
    /// least 1 is used.
    pub outgoing_max: usize,
}

impl Default for NatsConnectionConfig {
    fn default() -> Self {
        Self {
            credentials: NatsCredentials::None,
            name: "rr".to_owned(),
            inbox_prefix: "_INBOX".to_owned(),
            connect_timeout: defaults::CONNECT_TIMEOUT,
            ping_interval: Duration::from_secs(20),
            reconnect_delay_max: Duration::from_secs(2),
            members_interval: Duration::from_secs(60),
            ignore_discovered: false,
            outgoing_max: 256,
        }
    }
}

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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NatsConfig {
    /// What the requester does with its connection.
    pub connection: NatsConnectionConfig,
    /// Time for a call whose context has no deadline. Default 10 s; 0 fails such calls at once.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout: Duration,
    /// Longest wait of a call for a connection while there is none, within its deadline. Default
    /// 1 s, in which another server of a cluster takes over; 0 fails immediately. The first
    /// connection, and the verdict on one that has gone silent, are always waited for.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub connection_wait: Duration,
    /// Most calls in flight; further ones wait within their deadline. A call that ended early counts
    /// until its cancel message has left. Default 4096; 0 lets every call wait until its deadline.
    pub in_flight_max: usize,
    /// Whether handlers are told when a call is dropped or cancelled. Default true; it takes the
    /// permission to publish on `_RR.cancel.>`, and switches itself off without it.
    pub cancel: bool,
    /// Whether the clocks of both ends are known to agree: then a request that has a deadline
    /// says when it was sent. Default false.
    pub clocks_agree: bool,
    /// Longest request body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
    pub request_bytes_max: usize,
    /// Longest response body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
    pub response_bytes_max: usize,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            connection: NatsConnectionConfig::default(),
            timeout: defaults::CLIENT_TIMEOUT,
            connection_wait: Duration::from_secs(1),
            in_flight_max: 4096,
            cancel: true,
            clocks_agree: false,
            request_bytes_max: defaults::BODY_BYTES_MAX,
            response_bytes_max: defaults::BODY_BYTES_MAX,
        }
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NatsServerConfig {
    /// What the server does with its connection.
    pub connection: NatsConnectionConfig,
    /// The queue group, one token: of the servers in one, each request reaches one. Default `q`
    /// (ADR-32); none lets every server answer every request.
    ///
    /// Serve one target in one group. Each group receives every request, so that refusals of
    /// another group than `q`, or without one, say `Unknown` instead of `Rejected`.
    pub queue: Option<String>,
    /// Whether the queue group is the only one that serves these targets: then its refusals say
    /// `Rejected`, whatever its name. Default false, which trusts only the group `q`, and of it
    /// only refusals of requests from its own account; without a group it does nothing.
    pub sole_group: bool,
    /// Where handlers run. Default: in a task only when they have to wait, or compute for long.
    pub dispatch: NatsDispatch,
    /// Whether a drain ends subscriptions by count, as it does where the faster way is not to be
    /// had. Default false; tests run both.
    #[doc(hidden)]
    #[serde(skip)]
    pub drain_by_count: bool,
    /// Whether callers may cancel. Default true.
    pub cancel: bool,
    /// Whether the clocks of both ends are known to agree, to much less than the time of a call:
    /// then the time that a request has spent in queues, where it says when it was sent, is taken
    /// off its timeout. Default false; a send time in the future, or more than 5 min ago, is a
    /// wrong clock and counts for nothing.
    pub clocks_agree: bool,
    /// Whether `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` are answered (ADR-32). Default true.
    pub discovery: bool,
    /// The version of the services for discovery, a semantic version. Default `0.0.0`.
    pub version: String,
    /// Most requests in flight; the next one is refused. Default 1024; 0 refuses every request.
    pub in_flight_max: usize,
    /// Most requests of one subscription that wait, with their time running, while handlers compute;
    /// further ones are refused. Default 16384; one may always wait.
    pub waiting_max: usize,
    /// Longest bodies of the requests that wait on one subscription, in bytes together. Default
    /// 64 MiB; one may always wait.
    pub waiting_bytes_max: usize,
    /// Most bytes of bodies that the server holds: of requests with their headers, from when they
    /// have come until their handlers end, and of replies until they have left. A request that does
    /// not fit is refused before its handler runs; a reply that does not is dropped, and an error
    /// leaves in its place. Default 64 MiB; 0 allows only empty requests without headers.
    pub bodies_bytes_max: usize,
    /// Time for a request that carries no timeout. Default 30 s; 0 refuses such requests.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout_default: Duration,
    /// Shortest time granted to a request that has any left. Default 0: as it asks.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout_min: Duration,
    /// Longest time granted, whatever the request asks for. Default 5 min; 0 refuses every one.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout_max: Duration,
    /// Longest request body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
    pub request_bytes_max: usize,
    /// Longest response body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
    pub response_bytes_max: usize,
}

impl Default for NatsServerConfig {
    fn default() -> Self {
        Self {
            connection: NatsConnectionConfig::default(),
            queue: Some(QUEUE.to_owned()),
            sole_group: false,
            dispatch: NatsDispatch::WhenPending,
            drain_by_count: false,
            cancel: true,
            clocks_agree: false,
            discovery: true,
            version: "0.0.0".to_owned(),
            in_flight_max: defaults::IN_FLIGHT_MAX,
            waiting_max: 16 * 1024,
            waiting_bytes_max: 64 * 1024 * 1024,
            bodies_bytes_max: defaults::BODIES_BYTES_MAX,
            timeout_default: defaults::SERVER_TIMEOUT,
            timeout_min: Duration::ZERO,
            timeout_max: defaults::SERVER_TIMEOUT_MAX,
            request_bytes_max: defaults::BODY_BYTES_MAX,
            response_bytes_max: defaults::BODY_BYTES_MAX,
        }
    }
}

/// Writes one `with_*` method per field, with the same words.
macro_rules! setters {
    ($of:ident { $($name:ident = $field:ident: $kind:ty, $what:literal;)* }) => {
        impl $of {
            $(
                #[doc = concat!("Replaces ", $what, ".")]
                #[must_use]
                pub fn $name(mut self, $field: $kind) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

setters!(NatsConnectionConfig {
    with_credentials = credentials: NatsCredentials, "who the connection says it is";
    with_name = name: impl Into<String>, "the name that the server shows";
    with_inbox_prefix = inbox_prefix: impl Into<String>, "what the subjects for replies start with";
    with_connect_timeout = connect_timeout: Duration, "the time for one connection to be made";
    with_ping_interval = ping_interval: Duration, "how often an idle connection is tested";
    with_reconnect_delay_max = reconnect_delay_max: Duration, "the longest pause between attempts";
    with_members_interval = members_interval: Duration, "the pause between questions for members";
    with_ignore_discovered = ignore_discovered: bool, "whether announced addresses are ignored";
    with_outgoing_max = outgoing_max: usize, "the most messages that wait to be sent";
});

setters!(NatsConfig {
    with_connection = connection: NatsConnectionConfig, "what is done with the connection";
    with_timeout = timeout: Duration, "the time for a call whose context has no deadline";
    with_connection_wait = connection_wait: Duration, "how long a call waits for a connection";
    with_in_flight_max = in_flight_max: usize, "the most calls in flight";
    with_cancel = cancel: bool, "whether handlers are told of a cancelled call";
    with_clocks_agree = clocks_agree: bool, "whether requests say when they were sent";
    with_request_bytes_max = request_bytes_max: usize, "the longest request body, in bytes";
    with_response_bytes_max = response_bytes_max: usize, "the longest response body, in bytes";
});

setters!(NatsServerConfig {
    with_connection = connection: NatsConnectionConfig, "what is done with the connection";
    with_queue = queue: Option<String>, "the queue group";
    with_sole_group = sole_group: bool, "whether the queue group is the only one";
    with_dispatch = dispatch: NatsDispatch, "where handlers run";
    with_cancel = cancel: bool, "whether callers may cancel";
    with_clocks_agree = clocks_agree: bool, "whether time spent in queues is taken off";
    with_discovery = discovery: bool, "whether discovery is answered";
    with_version = version: impl Into<String>, "the version of the services";
    with_in_flight_max = in_flight_max: usize, "the most requests in flight";
    with_waiting_max = waiting_max: usize, "the most requests that wait while handlers compute";
    with_waiting_bytes_max = waiting_bytes_max: usize, "their longest bodies, in bytes together";
    with_bodies_bytes_max = bodies_bytes_max: usize, "the most bytes of bodies held";
    with_timeout_default = timeout_default: Duration, "the time for a request without a timeout";
    with_timeout_min = timeout_min: Duration, "the shortest time granted";
    with_timeout_max = timeout_max: Duration, "the longest time granted";
    with_request_bytes_max = request_bytes_max: usize, "the longest request body, in bytes";
    with_response_bytes_max = response_bytes_max: usize, "the longest response body, in bytes";
});

impl NatsConfig {
    pub(crate) fn limits(&self) -> Limits {
        Limits::default()
            .with_request_bytes_max(self.request_bytes_max)
            .with_response_bytes_max(self.response_bytes_max)
    }
}

impl NatsServerConfig {
    /// Replaces what every transport's server has in common: requests in flight, time, body sizes.
    #[must_use]
    pub fn with_intake(self, intake: &IntakeConfig) -> Self {
        Self {
            in_flight_max: intake.in_flight_max,
            timeout_default: intake.timeout_default,
            timeout_min: intake.timeout_min,
            timeout_max: intake.timeout_max,
            request_bytes_max: intake.limits.request_bytes_max,
            response_bytes_max: intake.limits.response_bytes_max,
            bodies_bytes_max: intake.bodies_bytes_max,
            ..self
        }
    }

    pub(crate) fn intake(&self) -> IntakeConfig {
        let limits = Limits::default()
            .with_request_bytes_max(self.request_bytes_max)
            .with_response_bytes_max(self.response_bytes_max);
        IntakeConfig::default()
            .with_in_flight_max(self.in_flight_max)
            .with_timeout_default(self.timeout_default)
            .with_timeout_min(self.timeout_min)
            .with_timeout_max(self.timeout_max)
            .with_limits(limits)
            .with_bodies_bytes_max(self.bodies_bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_refuses_unknown_fields() {
        let text = r#"{"connection":{"name":"x","credentials":{"token":"t"}},"timeout":"1500ms"}"#;
        let config: NatsConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.timeout, Duration::from_millis(1500));
        assert!(serde_json::from_str::<NatsConfig>(r#"{"tiemout":"1s"}"#).is_err());
        assert!(serde_json::from_str::<NatsServerConfig>(r#"{"connection":{"nmae":""}}"#).is_err());
        let text = r#"{"queue":null,"dispatch":"always"}"#;
        let config: NatsServerConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.queue, config.dispatch), (None, NatsDispatch::Always));
    }
}
