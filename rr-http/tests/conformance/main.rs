//! The conformance suite over HTTP/1.1 and HTTP/2: in real time on the loopback interface, and in
//! virtual time over pipes within the process.
//!
//! Nothing is skipped.
#![allow(clippy::unwrap_used, reason = "harnesses of tests, outside of any test function")]

mod pipe;
mod tcp;

use rr_http::{HttpConfig, HttpServerConfig, HttpVersion};
use rr_testkit::conformance::StartOptions;

use pipe::Pipe;
use tcp::Tcp;

/// What a case asks of the requester.
fn client(version: HttpVersion, options: &StartOptions) -> HttpConfig {
    HttpConfig::default()
        .with_version(version)
        .with_timeout(options.client_timeout)
        .with_request_bytes_max(options.client_limits.request_bytes_max)
        .with_response_bytes_max(options.client_limits.response_bytes_max)
}

/// What a case asks of the server.
fn server(options: &StartOptions) -> HttpServerConfig {
    HttpServerConfig::default().with_intake(&options.server)
}

mod h1 {
    use super::*;

    rr_testkit::conformance!(Tcp(HttpVersion::H1));
}

mod h2c {
    use super::*;

    rr_testkit::conformance!(Tcp(HttpVersion::H2c));
}

mod h1_pipe {
    use super::*;

    rr_testkit::conformance!(Pipe(HttpVersion::H1));
}

mod h2c_pipe {
    use super::*;

    rr_testkit::conformance!(Pipe(HttpVersion::H2c));
}
