//! The conformance suite over HTTP/1.1 and HTTP/2: over sockets, in real time; over sockets with
//! something between that cuts them; and over pipes within the process, in virtual time.
//!
//! Skipped over sockets alone: what cuts the link or kills the server. Through the proxy only that
//! runs.
#![allow(clippy::unwrap_used, reason = "harnesses of tests, outside of any test function")]

#[cfg(feature = "tls")]
#[path = "../../../rr-tls/tests/it/authority.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod authority;
#[cfg(feature = "tls")]
mod cards;
mod line;
mod mounted;
mod raw;
mod rig;

use std::sync::Arc;
#[cfg(feature = "tls")]
use std::time::Duration;

use rr_http::HttpVersion;
use rr_spi::{Error, Routes, async_trait};
use rr_testkit::conformance::{
    Capabilities, Capability, Case, Harness, Plan, Rig, StartOptions, Timing, cases,
};

use line::{Line, Pipe, Proxied, Tcp};
use mounted::Mounted;
use rig::{Running, configs};

/// One version of HTTP over one kind of line.
struct Http {
    name: &'static str,
    version: HttpVersion,
    line: fn() -> Arc<dyn Line>,
    timing: Timing,
    has_link: bool,
    /// Most calls in flight: each has an HTTP/1.1 connection to itself, which on sockets means two
    /// descriptors of this process.
    parallel_max: usize,
}

/// Both versions over one kind of line.
fn both(make: fn(HttpVersion) -> Http) -> [Http; 2] {
    [make(HttpVersion::H1), make(HttpVersion::H2c)]
}

/// What a requester's four HTTP/2 connections have room for.
const STREAMS_MAX: usize = 800;

impl Http {
    fn tcp(version: HttpVersion) -> Self {
        let (name, parallel_max) = match version {
            HttpVersion::H2c => ("http (h2c)", STREAMS_MAX),
            _ => ("http (h1)", 200),
        };
        let line = || Arc::new(Tcp::default()) as _;
        Self { name, version, line, timing: Timing::real(), has_link: false, parallel_max }
    }

    #[cfg(feature = "tls")]
    fn tls(version: HttpVersion) -> Self {
        let (name, parallel_max) = match version {
            HttpVersion::H2 => ("https (h2)", STREAMS_MAX),
            _ => ("https (h1)", 200),
        };
        // A handshake without optimizations takes several milliseconds at each end, and a burst of
        // HTTP/1.1 calls needs one for each.
        let timing = Timing::Real { unit: Duration::from_millis(100) };
        Self {
            name,
            version,
            line: || Arc::new(line::Tls::new()),
            timing,
            parallel_max,
            ..Self::tcp(version)
        }
    }

    /// Both ends give certificates, and the server chooses the version.
    #[cfg(feature = "tls")]
    fn mutual_tls() -> Self {
        let line = || Arc::new(line::Tls::mutual()) as _;
        Self { name: "https (mutual)", line, ..Self::tls(HttpVersion::Auto) }
    }

    fn proxied(version: HttpVersion) -> Self {
        let (name, parallel_max) = match version {
            HttpVersion::H2c => ("http (h2c, proxied)", STREAMS_MAX),
            // The proxy needs two more descriptors.
            _ => ("http (h1, proxied)", 100),
        };
        let line = || Arc::new(Proxied::default()) as _;
        Self { name, version, line, timing: Timing::real(), has_link: true, parallel_max }
    }

    fn pipe(version: HttpVersion) -> Self {
        let (name, parallel_max) = match version {
            HttpVersion::H2c => ("http (h2c, pipe)", STREAMS_MAX),
            _ => ("http (h1, pipe)", 1500),
        };
        let line = || Arc::new(Pipe::default()) as _;
        Self { name, version, line, timing: Timing::Virtual, has_link: true, parallel_max }
    }
}

#[async_trait]
impl Harness for Http {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_link(self.has_link)
            .with_cut(self.has_link)
            .with_restart(self.has_link)
            .with_parallel_max(self.parallel_max)
    }

    fn timing(&self) -> Timing {
        self.timing
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let (server, client) = configs(options, self.version, self.parallel_max);
        Ok(Box::new(Running::start((self.line)(), routes, server, client).await?))
    }
}

mod rig_tests;

mod h1 {
    use super::*;

    rr_testkit::conformance!(Http::tcp(HttpVersion::H1));
}

mod h2c {
    use super::*;

    rr_testkit::conformance!(Http::tcp(HttpVersion::H2c));
}

mod h1_pipe {
    use super::*;

    rr_testkit::conformance!(Http::pipe(HttpVersion::H1));
}

mod h2c_pipe {
    use super::*;

    rr_testkit::conformance!(Http::pipe(HttpVersion::H2c));
}

#[cfg(feature = "tls")]
mod over_tls {
    mod h1 {
        use crate::*;

        rr_testkit::conformance!(Http::tls(HttpVersion::H1));
    }

    mod h2 {
        use crate::*;

        rr_testkit::conformance!(Http::tls(HttpVersion::H2));
    }

    mod mutual {
        use crate::*;

        rr_testkit::conformance!(Http::mutual_tls());
    }
}

/// Through the proxy: what needs the link, and what does more where there is one.
fn cut() -> Plan {
    let link = [Some(Capability::Link), Some(Capability::Restart)];
    let needs_link = |case: &&Case| link.contains(&case.needs());
    let plan = Plan::v1().only("delivery/*");
    cases().iter().filter(needs_link).fold(plan, |plan, case| plan.only(case.name()))
}

mod h1_proxied {
    use super::*;

    rr_testkit::conformance!(Http::proxied(HttpVersion::H1), cut());
}

mod h2c_proxied {
    use super::*;

    rr_testkit::conformance!(Http::proxied(HttpVersion::H2c), cut());
}

mod h1_axum {
    use super::*;

    rr_testkit::conformance!(Mounted::axum(HttpVersion::H1), Mounted::plan(HttpVersion::H1));
}

mod h2c_axum {
    use super::*;

    rr_testkit::conformance!(Mounted::axum(HttpVersion::H2c), Mounted::plan(HttpVersion::H2c));
}
