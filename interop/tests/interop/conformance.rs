//! The conformance suite with a real HAProxy or nginx between requesters and server.

mod between;
mod plans;

use std::sync::Arc;

use rr_http::HttpVersion;
use rr_spi::{Error, Routes, async_trait};
use rr_testkit::conformance::{
    self, Capabilities, Card, Harness, Plan, Rig, StartOptions, Timing, check_cards,
};

use crate::check::{Outcome, passed};
use crate::proxy::Program;
use crate::rig::{Running, configs};
use between::Between;

/// One version of HTTP through one proxy.
#[derive(Clone, Copy)]
struct Through {
    name: &'static str,
    program: Program,
    version: HttpVersion,
    parallel_max: usize,
}

/// Each call takes a connection to the proxy and one behind it, and each of them several descriptors.
const H1_PARALLEL_MAX: usize = 100;

/// What a requester's four connections carry: HAProxy allows 100 streams on each.
const H2C_PARALLEL_MAX: usize = 400;

const HAPROXY_H1: Through = Through {
    name: "http (h1, through HAProxy)",
    program: Program::HaProxy { h2: false },
    version: HttpVersion::H1,
    parallel_max: H1_PARALLEL_MAX,
};

const HAPROXY_H2C: Through = Through {
    name: "http (h2c, through HAProxy)",
    program: Program::HaProxy { h2: true },
    version: HttpVersion::H2c,
    parallel_max: H2C_PARALLEL_MAX,
};

const NGINX_H1: Through = Through {
    name: "http (h1, through nginx)",
    program: Program::Nginx,
    version: HttpVersion::H1,
    parallel_max: H1_PARALLEL_MAX,
};

#[test]
fn haproxy_over_http_1_1() -> Outcome {
    conforms(HAPROXY_H1, &plans::haproxy_h1())
}

#[test]
fn haproxy_over_h2c() -> Outcome {
    conforms(HAPROXY_H2C, &plans::haproxy_h2c())
}

#[test]
fn nginx_over_http_1_1() -> Outcome {
    conforms(NGINX_H1, &plans::nginx_h1())
}

#[test]
fn the_cards_in_the_readme_are_current() {
    let card = |through: Through, plan: Plan| Card::of(&through, &plan);
    let cards = [
        card(HAPROXY_H1, plans::haproxy_h1()),
        card(HAPROXY_H2C, plans::haproxy_h2c()),
        card(NGINX_H1, plans::nginx_h1()),
    ];
    check_cards(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"), &cards);
}

/// Runs the plan, prints the report and lists what passed.
fn conforms(through: Through, plan: &Plan) -> Outcome {
    let report = conformance::run(through, plan);
    println!("{report}");
    report.assert();
    for row in &report.rows {
        if row.outcome == conformance::Outcome::Passed {
            passed(&format!("{}: {}", through.name, row.name))?;
        }
    }
    Ok(())
}

#[async_trait]
impl Harness for Through {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_parallel_max(self.parallel_max)
    }

    fn timing(&self) -> Timing {
        Timing::real()
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let (server, client) = configs(options, self.version, self.parallel_max);
        let line = Arc::new(Between::new(self.program));
        Ok(Box::new(Running::start(line, routes, server, client).await?))
    }
}
