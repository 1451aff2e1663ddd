//! What can be set: of a requester, and of a server.

use std::time::Duration;

use rr_spi::{CallConfig, IntakeConfig, defaults};
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

rr_spi::options! {
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
    pub struct HttpConfig {
        /// The version of HTTP. Default `h1`.
        pub version: HttpVersion = HttpVersion::H1, with_version(HttpVersion);
        /// Time for one connection to be made, name lookup included, and again for an HTTP/2 server
        /// to say what it allows. Default 5 s; 0 never connects.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connect_timeout: Duration = defaults::CONNECT_TIMEOUT, with_connect_timeout(Duration);
        /// How long an unused connection is kept, unless the server grants less with `keep-alive`.
        /// Default 30 s, less than half of what our server grants; 0 keeps none. Connections belong
        /// to the runtime that made them: while it is alive and not driven, they stay.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub idle_timeout: Duration = Duration::from_secs(30), with_idle_timeout(Duration);
        /// Most unused HTTP/1.1 connections of one runtime. Default 64; 0 keeps none.
        pub idle_max: usize = 64, with_idle_max(usize);
        /// Most HTTP/1.1 connections that calls of one runtime use simultaneously; further calls
        /// wait within their deadline. Default 256; 0 lets every call wait until its deadline.
        pub connections_max: usize = 256, with_connections_max(usize);
        /// Most HTTP/2 connections of one runtime that take calls; as many again may be ending, with
        /// calls in flight that their server still answers. Default 4; at least 1 is used.
        pub h2_connections_max: usize = 4, with_h2_connections_max(usize);
        /// Most calls in flight on one HTTP/2 connection, unless the server allows fewer; further
        /// calls take another connection, or wait within their deadline. Default 200; at least 1 is
        /// used.
        pub h2_streams_max: usize = 200, with_h2_streams_max(usize);
        /// Longest URL in bytes with which a safe call with a codec goes as Connect GET, which caches
        /// and proxies understand; longer ones, and all other calls, go as POST. Default 0: never.
        pub get_bytes_max: usize = 0, with_get_bytes_max(usize);
        /// Which refusals of an HTTP/2 connection are believed. Default `goaway`.
        pub refusals: HttpRefusals = HttpRefusals::GoAway, with_refusals(HttpRefusals);
        /// Which code the status of a foreign reply amounts to. Default `connect`.
        pub status_codes: HttpStatusCodes = HttpStatusCodes::Connect,
            with_status_codes(HttpStatusCodes);
    }
    parts {
        /// What each call is granted.
        pub calls: CallConfig, with_calls;
    }
}

rr_spi::options! {
    /// What a server grants, and to how many.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_http::HttpServerConfig;
    ///
    /// let config = HttpServerConfig::default().with_connections_max(64);
    /// assert_eq!(config.intake.in_flight_max, 1024);
    /// ```
    pub struct HttpServerConfig {
        /// Most connections; further ones wait in the operating system's queue. Default 10 000; 0
        /// accepts none. Each holds a frame of HTTP/2 that has not wholly arrived, at most 64 KiB.
        pub connections_max: usize = 10_000, with_connections_max(usize);
        /// Time for the first bytes of a connection, which tell its version. Default 10 s; 0 closes
        /// every connection.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub first_bytes_timeout: Duration = Duration::from_secs(10),
            with_first_bytes_timeout(Duration);
        /// Time for the head of an HTTP/1 request, and for how long a connection may be unused.
        /// Default 30 s; 0 closes connections that do not send it at once.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub header_read_timeout: Duration = Duration::from_secs(30),
            with_header_read_timeout(Duration);
        /// Time for the body of a request, within the deadline of the call. Default 30 s; 0 takes
        /// only bodies that came with the head.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub body_read_timeout: Duration = Duration::from_secs(30), with_body_read_timeout(Duration);
        /// Longest time without write progress, including an exhausted HTTP/2 flow-control window:
        /// then an HTTP/1 connection is closed, and an HTTP/2 stream is reset. Progress is 16 KiB, or
        /// the rest if that is less: of what waits for the socket of a connection, and of each reply
        /// over HTTP/2. A peer that takes less than that within this time counts as one that takes
        /// nothing. A body of at most 16 KiB over HTTP/2 leaves within twice this time, or its
        /// connection is closed. Default 30 s, and thus half a KiB per second; 0 closes and resets as
        /// soon as anything waits.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub write_timeout: Duration = Duration::from_secs(30), with_write_timeout(Duration);
        /// How long an unused connection is kept. Default 75 s: longer than the 60 s of most load
        /// balancers, which would otherwise send requests while the server closes. The first reply of
        /// an HTTP/1.1 connection says so with `keep-alive: timeout=`, and every reply where it is
        /// under 60 s. 0 closes it as soon as it is unused, an HTTP/2 one even before its first call.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub idle_timeout: Duration = Duration::from_secs(75), with_idle_timeout(Duration);
        /// How long connections are still served when a drain begins, so that a request racing it is
        /// answered. Default 250 ms; 0 closes unused connections at once.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub drain_linger: Duration = Duration::from_millis(250), with_drain_linger(Duration);
        /// Most concurrent streams on one HTTP/2 connection. Default 200; at least 1 is used.
        pub h2_streams_max: usize = 200, with_h2_streams_max(usize);
    }
    parts {
        /// What requests are granted. Of the bytes of bodies, a quarter is kept for connections that
        /// hold little; what lies in HTTP/2's receive windows does not count.
        pub intake: IntakeConfig, with_intake;
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::{Code, Error, Location};

    use super::*;

    fn of_url(query: &str) -> Result<(HttpConfig, HttpServerConfig), Error> {
        let location = Location::parse(&format!("http://h?{query}")).unwrap();
        location.configure(HttpConfig::default(), HttpServerConfig::default())
    }

    #[test]
    fn a_url_sets_options_and_unknown_ones_are_refused_by_name() {
        let (config, _) = of_url("version=h2c&connect_timeout=20ms&idle_max=3").unwrap();
        assert_eq!((config.version, config.idle_max), (HttpVersion::H2c, 3));
        assert_eq!(config.connect_timeout, Duration::from_millis(20));

        let error = of_url("verison=h2c").unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.hint().contains("version, connect_timeout"), "{}", error.hint());
        assert!(of_url("version=h3").unwrap_err().hint().contains("`h2c`"));
    }

    #[test]
    fn one_url_sets_at_both_ends_what_both_have() {
        let query = "request_bytes_max=1&response_bytes_max=2&connections_max=3&h2_streams_max=4\
                     &idle_timeout=5s&in_flight_max=6&bodies_bytes_max=7&idle_max=8&timeout_max=9s";
        let (config, server) = of_url(query).unwrap();
        let limits = rr_spi::Limits::default().with_request_bytes_max(1).with_response_bytes_max(2);
        let expected = HttpConfig::default()
            .with_calls(CallConfig::default().with_limits(limits))
            .with_connections_max(3)
            .with_h2_streams_max(4)
            .with_idle_timeout(Duration::from_secs(5))
            .with_idle_max(8);
        assert_eq!(config, expected);
        let intake = IntakeConfig::default()
            .with_limits(limits)
            .with_in_flight_max(6)
            .with_bodies_bytes_max(7)
            .with_timeout_max(Duration::from_secs(9));
        let expected = HttpServerConfig::default()
            .with_connections_max(3)
            .with_h2_streams_max(4)
            .with_idle_timeout(Duration::from_secs(5))
            .with_intake(intake);
        assert_eq!(server, expected);
    }
}
