//! Configuration of requesters and servers.

use std::time::Duration;

use rr_spi::{CallConfig, IntakeConfig, defaults};
use serde::Deserialize;

use crate::hosts::HttpAddresses;
use crate::origins::HttpOrigins;
use crate::proxy::HttpProxy;

/// HTTP version of a requester.
///
/// Over `https://`, both ends agree on the version in the handshake (ALPN).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1 over `http://`; over `https://` HTTP/2 if the server speaks it, else HTTP/1.1. A
    /// server that changes its mind is followed.
    #[default]
    Auto,
    /// HTTP/1.1: one call at a time on a connection. Faster up to about 64 calls in flight.
    H1,
    /// HTTP/2 over `https://`, and no other version.
    H2,
    /// HTTP/2 with prior knowledge over `http://`: many calls on few connections.
    H2c,
}

/// HTTP/2 refusals that count as proof that the handler did not run.
///
/// A refusal proves nothing about the hops behind the one that sent it: a proxy may refuse a stream
/// although its backend has run the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpRefusals {
    /// None: every refusal leaves the delivery `Unknown`.
    None,
    /// `GOAWAY`, for streams above its last stream identifier (RFC 9113 §6.8). The request of such
    /// a stream is sent again once, immediately, on another connection.
    #[default]
    GoAway,
    /// `GOAWAY`, and streams reset with `REFUSED_STREAM` (RFC 9113 §8.7), whose delivery is then
    /// `Rejected`. Use it only for servers that are reached without a proxy: HAProxy resets a
    /// stream with `REFUSED_STREAM` when its backend dies while running the request.
    All,
}

/// Mapping from HTTP status to code, for replies with neither rr's headers nor a Connect error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpStatusCodes {
    /// Connect's table ("HTTP to Error Code"): 400 internal, 401 unauthenticated, 403
    /// permission_denied, 404 unimplemented, 429 and 502 to 504 unavailable, all others unknown.
    #[default]
    Connect,
    /// Codes that follow HTTP's definitions of the statuses, such as invalid_argument for 400.
    Http,
}

/// Content coding of replies that a requester asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpEncoding {
    /// None: the requester sends no `accept-encoding`.
    #[default]
    None,
    /// Gzip (RFC 1952).
    Gzip,
    /// Zstd (RFC 8878), or gzip from a server that has no zstd. Needs the feature `zstd`.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// Use of the PROXY protocol by a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HttpProxyProtocol {
    /// Connections come without a PROXY header.
    #[default]
    Off,
    /// Every connection begins with a PROXY header of version 2, before TLS and HTTP. The peer's
    /// address is the one that the header announces. A client that can reach the port can announce
    /// any address: only the proxy should.
    Required,
}

rr_spi::options! {
    /// Configuration of a requester.
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
        /// The version of HTTP. Default `auto`: HTTP/1.1, and over `https://` the version that the
        /// server prefers.
        pub version: HttpVersion = HttpVersion::Auto, with_version(HttpVersion);
        /// Timeout for making one connection, name lookup and TLS handshake included; an HTTP/2 server then has the
        /// same time again to send its SETTINGS. Default 5 s; 0 never connects.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connect_timeout: Duration = defaults::CONNECT_TIMEOUT, with_connect_timeout(Duration);
        /// Longest time that an unused connection is kept; the server may shorten it with
        /// `keep-alive`. Default 30 s, less than half the default of rr's server; 0 keeps none. The
        /// connections of a runtime that is alive but not driven stay open.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub idle_timeout: Duration = Duration::from_secs(30), with_idle_timeout(Duration);
        /// Time without traffic after which the operating system probes whether the peer of a TCP
        /// connection is still there, and the time between two probes. After three unanswered probes
        /// the connection ends; on Linux, with the first probe after `tcp_user_timeout` instead,
        /// unless that is 0. Whole seconds, at least 1 s. Default 15 s; 0 sends no probes.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub tcp_keepalive: Duration = Duration::from_secs(15), with_tcp_keepalive(Duration);
        /// Longest time that sent bytes stay unacknowledged, or wait for a peer that accepts none,
        /// before the TCP connection ends (`TCP_USER_TIMEOUT`, Linux only). It also replaces the
        /// number of probes of `tcp_keepalive`. Default 30 s; 0 leaves it
        /// to the operating system, which waits for a quarter of an hour.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub tcp_user_timeout: Duration = Duration::from_secs(30), with_tcp_user_timeout(Duration);
        /// Longest time for which a connection takes calls; calls in flight on it then end there.
        /// The next call opens a new connection and looks the name up again, so that a new server
        /// behind the name gets its share. Each connection shortens the time at random by up to a
        /// tenth. Default 10 min; 0 sets no limit.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connection_age_max: Duration = Duration::from_secs(600),
            with_connection_age_max(Duration);
        /// Maximum number of unused HTTP/1.1 connections of one runtime. Default 64; 0 keeps none.
        pub idle_max: usize = 64, with_idle_max(usize);
        /// Maximum number of HTTP/1.1 connections that calls of one runtime use simultaneously;
        /// further calls wait within their deadline. Default 256; 0 lets every call wait until its
        /// deadline.
        pub connections_max: usize = 256, with_connections_max(usize);
        /// Maximum number of HTTP/2 connections of one runtime that accept calls. As many again may
        /// be closing, while their server answers the calls in flight. Default 4; 0 counts as 1.
        pub h2_connections_max: usize = 4, with_h2_connections_max(usize);
        /// Maximum number of calls in flight on one HTTP/2 connection, unless the server allows
        /// fewer. Further calls use another connection, or wait within their deadline. Default 200;
        /// 0 counts as 1.
        pub h2_streams_max: usize = 200, with_h2_streams_max(usize);
        /// Longest URL of a Connect GET, in bytes. A safe call with a codec is sent as GET, which
        /// caches and proxies understand, if its URL fits; all other calls are sent as POST.
        /// Default 0: never GET.
        pub get_bytes_max: usize = 0, with_get_bytes_max(usize);
        /// HTTP/2 refusals that count as proof that the handler did not run. Default `goaway`.
        pub refusals: HttpRefusals = HttpRefusals::GoAway, with_refusals(HttpRefusals);
        /// Mapping from the status of a foreign reply to a code. Default `connect`.
        pub status_codes: HttpStatusCodes = HttpStatusCodes::Connect,
            with_status_codes(HttpStatusCodes);
        /// Content coding of replies that the requester asks for with `accept-encoding`. The limit
        /// of response bodies counts decoded bytes. A reply in a coding that the requester did not
        /// ask for, or that cannot be decoded, is `Internal`, processed, `bad-response`. Default
        /// `none`. An rr server compresses replies only if its option `compress_bytes_min` is set.
        pub accept_encoding: HttpEncoding = HttpEncoding::None, with_accept_encoding(HttpEncoding);
        /// Forward proxy through which all TCP connections of the requester are made. Default
        /// `none`, whatever the environment says: variables of a machine or a pod must not divert
        /// calls between services. With the feature `proxy-env`, `env` reads them.
        ///
        /// Each connection is a tunnel (`CONNECT`), also for `http://`: the proxy passes bytes on and
        /// reads no request, so that reuse of connections, HTTP/2, TLS and the delivery of errors
        /// are those of the server. A proxy that opens no tunnel fails the call: `Unavailable`, not
        /// sent, `connect-failed`, never to be retried if it asks for credentials (401, 407) or does
        /// not allow the tunnel (403, 405). Unix sockets and connectors of the application use no
        /// proxy.
        pub proxy: HttpProxy = HttpProxy::none(), with_proxy(HttpProxy);
        /// Further hosts, besides those of the URL, over which `rr_core::connect` balances calls;
        /// each is `host` or `host:port`. In a URL it is a list with commas. Default none. At most
        /// 64 hosts, those of the URL included.
        #[serde(deserialize_with = "crate::hosts::deserialize")]
        pub hosts: Vec<String> = Vec::new(), with_hosts(impl Into<Vec<String>>);
        /// Use of the addresses of a name that has several. Default `first`; with `all`,
        /// `rr_core::connect` balances calls over all addresses, which it refuses behind a `proxy`.
        pub addresses: HttpAddresses = HttpAddresses::First, with_addresses(HttpAddresses);
        /// Pause between two look-ups of the names with `addresses=all`, while calls are made. Each
        /// pause is shortened at random by up to a tenth. Default 30 s; 0 looks up again with every
        /// call, one look-up at a time.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub lookup_interval: Duration = Duration::from_secs(30), with_lookup_interval(Duration);
    }
    parts with "tls" {
        /// TLS of `https://` URLs. It has no effect on other URLs, whose query cannot set it.
        pub tls: rr_tls::TlsConfig, with_tls;
    }
    common as HttpSection {
        /// Timeout and limits of each call.
        pub calls: CallConfig, with_calls;
    }
}

rr_spi::options! {
    /// Configuration of a server.
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
        /// Maximum number of open connections; further ones wait in the operating system's queue.
        /// Default 10,000; 0 accepts none. Each buffers at most one incomplete HTTP/2 frame, of up
        /// to 64 KiB.
        pub connections_max: usize = 10_000, with_connections_max(usize);
        /// Timeout for the first bytes of a connection, which determine its HTTP version. Default
        /// 10 s; 0 closes every connection.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub first_bytes_timeout: Duration = Duration::from_secs(10),
            with_first_bytes_timeout(Duration);
        /// Timeout for the head of an HTTP/1 request, from its first byte. Default 30 s; 0 closes a
        /// connection whose head does not arrive in one go.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub header_read_timeout: Duration = Duration::from_secs(30),
            with_header_read_timeout(Duration);
        /// Timeout for the body of a request, within the deadline of its call. Default 30 s; 0
        /// accepts only bodies that arrive with the head.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub body_read_timeout: Duration = Duration::from_secs(30), with_body_read_timeout(Duration);
        /// Longest time without write progress, including an exhausted HTTP/2 flow-control window.
        /// When it passes, an HTTP/1 connection is closed, and an HTTP/2 stream is reset. Progress
        /// is 16 KiB, or the rest if that is less: of the bytes that wait for a connection's
        /// socket, and of each reply over HTTP/2. A peer that takes less within this time counts as
        /// stalled. A body of at most 64 KiB over HTTP/2 has twice this time for each 16 KiB; then
        /// its connection is closed. Default 30 s, and thus half a KiB per second; 0 closes or resets
        /// as soon as anything has to wait.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub write_timeout: Duration = Duration::from_secs(30), with_write_timeout(Duration);
        /// Longest time that an unused connection is kept. Default 75 s: longer than the 60 s of
        /// most load balancers, which would otherwise send requests while the server closes.
        /// `keep-alive: timeout=` announces it in the first reply of an HTTP/1.1 connection, or in
        /// every reply if it is under 60 s. 0 closes a connection as soon as it is unused, an
        /// HTTP/2 one even before its first call.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub idle_timeout: Duration = Duration::from_secs(75), with_idle_timeout(Duration);
        /// Age at which a connection is replaced, so that clients spread over new servers: 90 to
        /// 100 % of this time, chosen at random for each connection. The next reply of HTTP/1.1
        /// then says `connection: close`; over HTTP/2 the server sends GOAWAY, and serves the
        /// streams that are open. No call is lost: an unused connection of HTTP/1.1 is kept until
        /// its next reply or `idle_timeout`. Default 30 min; 0 replaces a connection of HTTP/1.1
        /// after each reply, and one of HTTP/2 as soon as possible.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub connection_age_max: Duration = Duration::from_secs(30 * 60),
            with_connection_age_max(Duration);
        /// Whether every connection begins with a header of the PROXY protocol, by which a proxy
        /// announces the address of its client. The header must arrive within
        /// `first_bytes_timeout`; a connection with another beginning is closed. Default `off`.
        pub proxy_protocol: HttpProxyProtocol = HttpProxyProtocol::Off,
            with_proxy_protocol(HttpProxyProtocol);
        /// Time for which connections are still served after a drain has begun, so that a request
        /// that races with the drain is answered. Default 250 ms; 0 closes unused connections
        /// immediately.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub drain_linger: Duration = Duration::from_millis(250), with_drain_linger(Duration);
        /// Time without traffic after which the operating system probes whether the peer of a TCP
        /// connection is still there, and the time between two probes. After three unanswered probes
        /// the connection ends. Whole seconds, at least 1 s. Default 15 s; 0 sends no probes.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub tcp_keepalive: Duration = Duration::from_secs(15), with_tcp_keepalive(Duration);
        /// Maximum number of concurrent streams on one HTTP/2 connection. Default 200; 0 counts as
        /// 1.
        pub h2_streams_max: usize = 200, with_h2_streams_max(usize);
        /// Origins of the web pages whose scripts may call this server and read its replies (CORS,
        /// as the Fetch standard defines it). Default none: the server answers `OPTIONS` with 405,
        /// and a browser keeps the replies from pages of other origins. In a URL it is a list with
        /// commas, as in `cors_origins=https://a.example,https://b.example`, or `*` for all.
        ///
        /// A page may use every header and read every header of a reply. A browser keeps the answer to
        /// a preflight for two hours. A page may not send cookies or other credentials of the browser. This setting is
        /// no access control: a call from any other origin, or from no browser, runs as before. A
        /// page of any origin can also send a POST without a preflight, whose reply it cannot read.
        pub cors_origins: HttpOrigins = HttpOrigins::default(), with_cors_origins(HttpOrigins);
        /// Length in bytes from which the body of a reply is compressed if the caller asks for it
        /// with `accept-encoding`. Codings are gzip and, with the feature `zstd`, zstd. Default 0:
        /// no reply is compressed.
        ///
        /// 1,024 is a sensible value for callers beyond the data center. Compressing 1 KiB of JSON
        /// takes 15 µs with gzip, about as long as a call takes otherwise; 1 MiB takes 10 ms in
        /// steps of 0.3 ms. Zstd takes half of that. Only text and the content types of codecs are
        /// compressed, and only if that makes the body shorter. A reply with
        /// `cache-control: no-transform` or a strong `etag` is not. At most 64 replies are compressed
        /// simultaneously, others leave as they are; each takes up to its length in memory once more,
        /// which `bodies_bytes_max` does not count. Set `no-transform` on replies
        /// that have a secret next to text of the caller: over TLS, the length of a compressed body
        /// reveals what both have in common (the attack BREACH).
        pub compress_bytes_min: usize = 0, with_compress_bytes_min(usize);
    }
    parts with "tls" {
        /// TLS of `https://` URLs. It has no effect on other URLs, whose query cannot set it.
        pub tls: rr_tls::TlsServerConfig, with_tls;
    }
    common as HttpServerSection {
        /// Limits of requests. A quarter of `bodies_bytes_max` is reserved for connections that
        /// hold little. A declared length counts as soon as the head has arrived. Bytes in HTTP/2's
        /// receive windows do not count.
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
