//! What can be set: of a requester, and of a server.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use rr_spi::{Code, Delivery, Error, IntakeConfig, Limits, Location, defaults, duration};
use serde::Deserialize;

/// Which version of HTTP a requester speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1, one call at a time on a connection: the faster one up to about 64 in flight.
    #[default]
    H1,
    /// HTTP/2 with prior knowledge, many calls on few connections.
    H2c,
}

/// Which refusals of an HTTP/2 connection count as proof that the handler did not run.
///
/// A refusal of the last hop proves nothing about the hops behind it: a proxy may refuse a stream
/// whose request its backend has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpRefusals {
    /// None: every refusal leaves the delivery `Unknown`.
    None,
    /// `GOAWAY` for streams above its last stream identifier (RFC 9113 §6.8): such a request is sent
    /// again once, immediately, on another connection.
    #[default]
    GoAway,
    /// `GOAWAY`, and streams reset with `REFUSED_STREAM` (RFC 9113 §8.7), which then say `Rejected`.
    /// Only for servers that are reached without a proxy: HAProxy resets streams like this when its
    /// backend dies while it runs the request.
    All,
}

/// Which code a status amounts to when a reply carries neither rr's headers nor a Connect error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpStatusCodes {
    /// Connect's table ("HTTP to Error Code"): 400 internal, 401 unauthenticated, 403
    /// permission_denied, 404 unimplemented, 429 and 502 to 504 unavailable, all others unknown.
    #[default]
    Connect,
    /// The codes that HTTP's definitions of the statuses suggest, such as invalid_argument for 400.
    Http,
}

/// What a requester may use, and for how long.
///
/// # Examples
///
/// ```
/// use rr_http::{HttpConfig, HttpVersion};
///
/// let config = HttpConfig::default().with_version(HttpVersion::H2c).with_connections_max(8);
/// assert_eq!(config.connections_max, 8);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The version of HTTP. Default `h1`.
    pub version: HttpVersion,
    /// Time for a call whose context has no deadline. Default 10 s; 0 fails such calls at once.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout: Duration,
    /// Time for one connection to be made, name lookup included, and again for an HTTP/2 server
    /// to say what it allows. Default 5 s; 0 never connects.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub connect_timeout: Duration,
    /// How long an unused connection is kept, unless the server grants less with `keep-alive`.
    /// Default 30 s, less than half of what our server grants; 0 keeps none. Connections belong to
    /// the runtime that made them: while it is alive and not driven, they stay.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub idle_timeout: Duration,
    /// Most unused HTTP/1.1 connections of one runtime. Default 64; 0 keeps none.
    pub idle_max: usize,
    /// Most HTTP/1.1 connections that calls of one runtime use simultaneously; further calls wait
    /// within their deadline. Default 256; 0 lets every call wait until its deadline.
    pub connections_max: usize,
    /// Most HTTP/2 connections of one runtime that take calls; as many again may be ending, with calls in flight
    /// that their server still answers. Default 4; at least 1 is used.
    pub h2_connections_max: usize,
    /// Most calls in flight on one HTTP/2 connection, unless the server allows fewer; further
    /// calls take another connection, or wait within their deadline. Default 200; at least 1 is
    /// used.
    pub h2_streams_max: usize,
    /// Longest request body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
    pub request_bytes_max: usize,
    /// Longest response body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
    pub response_bytes_max: usize,
    /// Longest URL in bytes with which a safe call with a codec goes as Connect GET, which caches and
    /// proxies understand; longer ones, and all other calls, go as POST. Default 0: never.
    pub get_bytes_max: usize,
    /// Which refusals of an HTTP/2 connection are believed. Default `goaway`.
    pub refusals: HttpRefusals,
    /// Which code the status of a foreign reply amounts to. Default `connect`.
    pub status_codes: HttpStatusCodes,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            version: HttpVersion::H1,
            timeout: defaults::CLIENT_TIMEOUT,
            connect_timeout: defaults::CONNECT_TIMEOUT,
            idle_timeout: Duration::from_secs(30),
            idle_max: 64,
            connections_max: 256,
            h2_connections_max: 4,
            h2_streams_max: 200,
            request_bytes_max: defaults::BODY_BYTES_MAX,
            response_bytes_max: defaults::BODY_BYTES_MAX,
            get_bytes_max: 0,
            refusals: HttpRefusals::GoAway,
            status_codes: HttpStatusCodes::Connect,
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
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

setters!(HttpConfig {
    with_version = version: HttpVersion, "the version of HTTP";
    with_timeout = timeout: Duration, "the time for a call whose context has no deadline";
    with_connect_timeout = connect_timeout: Duration, "the time for one connection to be made";
    with_idle_timeout = idle_timeout: Duration, "how long an unused connection is kept";
    with_idle_max = idle_max: usize, "the most unused connections";
    with_connections_max = connections_max: usize, "the most HTTP/1.1 connections in use at once";
    with_h2_connections_max = h2_connections_max: usize, "the most HTTP/2 connections";
    with_h2_streams_max = h2_streams_max: usize, "the most calls on one HTTP/2 connection";
    with_request_bytes_max = request_bytes_max: usize, "the longest request body, in bytes";
    with_response_bytes_max = response_bytes_max: usize, "the longest response body, in bytes";
    with_get_bytes_max = get_bytes_max: usize, "the longest URL of a Connect GET, in bytes";
    with_refusals = refusals: HttpRefusals, "which refusals of an HTTP/2 connection are believed";
    with_status_codes = status_codes: HttpStatusCodes, "which code a foreign status amounts to";
});

/// The fields of [`HttpConfig`] that a URL can set.
const CLIENT_KEYS: &[&str] = &[
    "version",
    "timeout",
    "connect_timeout",
    "idle_timeout",
    "idle_max",
    "connections_max",
    "h2_connections_max",
    "h2_streams_max",
    "request_bytes_max",
    "response_bytes_max",
    "get_bytes_max",
    "refusals",
    "status_codes",
];

/// The fields that a URL can set of a server alone. It sets those of [`HttpServerConfig`] as well
/// that have the name of one of [`CLIENT_KEYS`].
const SERVER_KEYS: &[&str] = &["bodies_bytes_max", "in_flight_max"];

impl HttpConfig {
    /// Takes over what the query of a URL sets. What is for servers alone is left aside, so that
    /// one URL does for both ends.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when a value does not parse or a parameter is unknown.
    pub fn with_location(mut self, location: &mut Location) -> Result<Self, Error> {
        take(location, "version", &mut self.version, version)?;
        take(location, "timeout", &mut self.timeout, duration::parse)?;
        take(location, "connect_timeout", &mut self.connect_timeout, duration::parse)?;
        take(location, "idle_timeout", &mut self.idle_timeout, duration::parse)?;
        take(location, "idle_max", &mut self.idle_max, number)?;
        take(location, "connections_max", &mut self.connections_max, number)?;
        take(location, "h2_connections_max", &mut self.h2_connections_max, number)?;
        take(location, "h2_streams_max", &mut self.h2_streams_max, number)?;
        take(location, "request_bytes_max", &mut self.request_bytes_max, number)?;
        take(location, "response_bytes_max", &mut self.response_bytes_max, number)?;
        take(location, "get_bytes_max", &mut self.get_bytes_max, number)?;
        take(location, "refusals", &mut self.refusals, refusals)?;
        take(location, "status_codes", &mut self.status_codes, status_codes)?;
        finish(location, SERVER_KEYS)?;
        Ok(self)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::default()
            .with_request_bytes_max(self.request_bytes_max)
            .with_response_bytes_max(self.response_bytes_max)
    }
}

/// What a server grants, and to how many.
///
/// # Examples
///
/// ```
/// use rr_http::HttpServerConfig;
///
/// let config = HttpServerConfig::default().with_in_flight_max(64);
/// assert_eq!(config.in_flight_max, 64);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpServerConfig {
    /// Most requests in flight; the next one is refused. Default 1024; 0 refuses every request.
    pub in_flight_max: usize,
    /// Time for a request that carries no timeout. Default 30 s; 0 refuses such requests.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout_default: Duration,
    /// Shortest time granted to a request that has any left. Default 0: as it asks.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout_min: Duration,
    /// Longest time granted, whatever the request asks for. Default 5 min; 0 refuses every one.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub timeout_max: Duration,
    /// Longest request body in bytes, decoded. Default 1 MiB less 32 KiB; 0 allows only empty
    /// bodies.
    pub request_bytes_max: usize,
    /// Longest response body in bytes. Default 1 MiB less 32 KiB; 0 allows only empty bodies.
    pub response_bytes_max: usize,
    /// Most connections; further ones wait in the operating system's queue. Default 10 000; 0
    /// accepts none. Each holds a frame of HTTP/2 that has not wholly arrived, at most 64 KiB.
    pub connections_max: usize,
    /// Time for the first bytes of a connection, which tell its version. Default 10 s; 0 closes
    /// every connection.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub first_bytes_timeout: Duration,
    /// Time for the head of an HTTP/1 request, and for how long a connection may be unused.
    /// Default 30 s; 0 closes connections that do not send it at once.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub header_read_timeout: Duration,
    /// Time for the body of a request, within the deadline of the call. Default 30 s; 0 takes
    /// only bodies that came with the head.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub body_read_timeout: Duration,
    /// Most bytes of bodies that the server holds: of requests, each with its length as soon as its
    /// head has come, and of replies until their last byte has left. A request that does not fit is
    /// refused before its handler runs; a reply that does not is dropped, and an error leaves in its
    /// place. A quarter is kept for connections that hold little. What lies in HTTP/2's receive
    /// windows does not count. Default 64 MiB; 0 allows only empty bodies.
    pub bodies_bytes_max: usize,
    /// Longest time without write progress, including an exhausted HTTP/2 flow-control window:
    /// then an HTTP/1 connection is closed, and an HTTP/2 stream is reset. Progress is 16 KiB, or the
    /// rest if that is less: of what waits for the socket of a connection, and of each reply over
    /// HTTP/2. A peer that takes less than that within this time counts as one that takes nothing.
    /// A body of at most 16 KiB over HTTP/2 leaves within twice this time, or its connection is
    /// closed. Default 30 s, and thus half a KiB per second; 0 closes and resets as soon as anything
    /// waits.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub write_timeout: Duration,
    /// How long an unused connection is kept. Default 75 s: longer than the 60 s of most load
    /// balancers, which would otherwise send requests while the server closes. The first reply of an
    /// HTTP/1.1 connection says so with `keep-alive: timeout=`, and every reply where it is under
    /// 60 s. 0 closes it as soon as it is unused, an HTTP/2 one even before its first call.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub idle_timeout: Duration,
    /// How long connections are still served when a drain begins, so that a request racing it is
    /// answered. Default 250 ms; 0 closes unused connections at once.
    #[serde(deserialize_with = "rr_spi::duration::deserialize")]
    pub drain_linger: Duration,
    /// Most concurrent streams on one HTTP/2 connection. Default 200; at least 1 is used.
    pub h2_streams_max: u32,
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        Self {
            in_flight_max: defaults::IN_FLIGHT_MAX,
            timeout_default: defaults::SERVER_TIMEOUT,
            timeout_min: Duration::ZERO,
            timeout_max: defaults::SERVER_TIMEOUT_MAX,
            request_bytes_max: defaults::BODY_BYTES_MAX,
            response_bytes_max: defaults::BODY_BYTES_MAX,
            connections_max: 10_000,
            first_bytes_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(30),
            bodies_bytes_max: defaults::BODIES_BYTES_MAX,
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            drain_linger: Duration::from_millis(250),
            h2_streams_max: 200,
        }
    }
}

setters!(HttpServerConfig {
    with_in_flight_max = in_flight_max: usize, "the most requests in flight";
    with_timeout_default = timeout_default: Duration, "the time for a request without a timeout";
    with_timeout_min = timeout_min: Duration, "the shortest time granted";
    with_timeout_max = timeout_max: Duration, "the longest time granted";
    with_request_bytes_max = request_bytes_max: usize, "the longest request body, in bytes";
    with_response_bytes_max = response_bytes_max: usize, "the longest response body, in bytes";
    with_connections_max = connections_max: usize, "the most connections";
    with_first_bytes_timeout = first_bytes_timeout: Duration, "the time for the first bytes";
    with_header_read_timeout = header_read_timeout: Duration, "the time for a request's head";
    with_body_read_timeout = body_read_timeout: Duration, "the time for a request's body";
    with_bodies_bytes_max = bodies_bytes_max: usize, "the most bytes of bodies held";
    with_write_timeout = write_timeout: Duration, "the longest time without write progress";
    with_idle_timeout = idle_timeout: Duration, "how long an unused connection is kept";
    with_drain_linger = drain_linger: Duration, "how long a drain still serves connections";
    with_h2_streams_max = h2_streams_max: u32, "the most streams on one HTTP/2 connection";
});

impl HttpServerConfig {
    /// Takes over what the query of a URL sets: `bodies_bytes_max`, `in_flight_max`, and what it sets
    /// of requesters too, `request_bytes_max`, `response_bytes_max`, `connections_max`,
    /// `h2_streams_max` and `idle_timeout`. What is for requesters alone is left aside, so that one
    /// URL does for both ends.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when a value does not parse or a parameter is unknown.
    pub fn with_location(mut self, location: &mut Location) -> Result<Self, Error> {
        take(location, "bodies_bytes_max", &mut self.bodies_bytes_max, number)?;
        take(location, "in_flight_max", &mut self.in_flight_max, number)?;
        take(location, "request_bytes_max", &mut self.request_bytes_max, number)?;
        take(location, "response_bytes_max", &mut self.response_bytes_max, number)?;
        take(location, "connections_max", &mut self.connections_max, number)?;
        take(location, "h2_streams_max", &mut self.h2_streams_max, number)?;
        take(location, "idle_timeout", &mut self.idle_timeout, duration::parse)?;
        finish(location, CLIENT_KEYS)?;
        Ok(self)
    }

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

/// Leaves aside what is for the other end, and refuses what is for neither.
fn finish(location: &mut Location, of_the_other: &[&str]) -> Result<(), Error> {
    for key in of_the_other {
        let _ = location.take(key);
    }
    location.finish(&[CLIENT_KEYS, SERVER_KEYS].concat())
}

fn take<T>(
    location: &mut Location,
    key: &str,
    field: &mut T,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<(), Error> {
    if let Some(text) = location.take(key) {
        *field = parse(&text).ok_or_else(|| unparsable(key, &text))?;
    }
    Ok(())
}

fn unparsable(key: &str, text: &dyn Display) -> Error {
    let shown: String = text.to_string().chars().take(64).collect();
    let message = format!("parameter `{key}` cannot be `{}`", shown.escape_debug());
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
        .with_hint("durations look like `1500ms`, versions are `h1` and `h2c`, sizes are bytes")
}

fn version(text: &str) -> Option<HttpVersion> {
    match text {
        "h1" => Some(HttpVersion::H1),
        "h2c" => Some(HttpVersion::H2c),
        _ => None,
    }
}

fn refusals(text: &str) -> Option<HttpRefusals> {
    match text {
        "none" => Some(HttpRefusals::None),
        "goaway" => Some(HttpRefusals::GoAway),
        "all" => Some(HttpRefusals::All),
        _ => None,
    }
}

fn status_codes(text: &str) -> Option<HttpStatusCodes> {
    match text {
        "connect" => Some(HttpStatusCodes::Connect),
        "http" => Some(HttpStatusCodes::Http),
        _ => None,
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_sets_fields_and_unknown_keys_are_refused_by_name() {
        let mut location =
            Location::parse("http://h?version=h2c&connect_timeout=20ms&idle_max=3").unwrap();
        let config = HttpConfig::default().with_location(&mut location).unwrap();
        assert_eq!((config.version, config.idle_max), (HttpVersion::H2c, 3));
        assert_eq!(config.connect_timeout, Duration::from_millis(20));

        let mut location = Location::parse("http://h?verison=h2c").unwrap();
        let error = HttpConfig::default().with_location(&mut location).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.hint().contains("version, timeout"), "{}", error.hint());
        let mut location = Location::parse("http://h?version=h3").unwrap();
        assert!(HttpConfig::default().with_location(&mut location).is_err());
    }

    #[test]
    fn one_url_sets_at_both_ends_what_both_have_and_leaves_the_rest_aside() {
        let url = "http://h?request_bytes_max=1&response_bytes_max=2&connections_max=3\
                   &h2_streams_max=4&idle_timeout=5s&in_flight_max=6&bodies_bytes_max=7&idle_max=8";
        let config = HttpConfig::default().with_location(&mut Location::parse(url).unwrap());
        let expected = HttpConfig::default()
            .with_request_bytes_max(1)
            .with_response_bytes_max(2)
            .with_connections_max(3)
            .with_h2_streams_max(4)
            .with_idle_timeout(Duration::from_secs(5))
            .with_idle_max(8);
        assert_eq!(config.unwrap(), expected);
        let config = HttpServerConfig::default().with_location(&mut Location::parse(url).unwrap());
        let expected = HttpServerConfig::default()
            .with_request_bytes_max(1)
            .with_response_bytes_max(2)
            .with_connections_max(3)
            .with_h2_streams_max(4)
            .with_idle_timeout(Duration::from_secs(5))
            .with_in_flight_max(6)
            .with_bodies_bytes_max(7);
        assert_eq!(config.unwrap(), expected);
        for key in CLIENT_KEYS.iter().chain(SERVER_KEYS) {
            let mut bad = Location::parse(&format!("http://h?{key}=-1")).unwrap();
            let server = HttpServerConfig::default().with_location(&mut bad.clone());
            let client = HttpConfig::default().with_location(&mut bad);
            assert!(server.is_err() || client.is_err(), "{key} is taken by an end");
        }
    }

    #[test]
    fn serde_reads_durations_as_text_and_refuses_unknown_fields() {
        let text = r#"{"version":"h2c","timeout":"1500ms"}"#;
        let config: HttpConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.timeout, Duration::from_millis(1500));
        assert!(serde_json::from_str::<HttpConfig>(r#"{"tiemout":"1s"}"#).is_err());
        assert!(serde_json::from_str::<HttpServerConfig>(r#"{"timeout_max":5}"#).is_err());
        let text = r#"{"drain_linger":"0ms"}"#;
        let config: HttpServerConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.drain_linger, Duration::ZERO);
    }
}
