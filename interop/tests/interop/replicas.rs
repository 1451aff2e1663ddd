//! Three replicas over real connections, one of which becomes 20 times slower or answers nothing for a while.
//!
//! The client's layers are `Throttle`, `Retry` and `Hedge` around a `Balance`. Each replica has a separate prefix over
//! NATS: within a queue group the server chooses, and a client cannot avoid a replica.

use std::process::Command;

use crate::check::{Outcome, command, passed, printed};
use crate::nats::broker;
use crate::server::Server;

/// Seconds of the trouble, unless the variable names others.
const SECONDS: &str = "8";
const SECONDS_VARIABLE: &str = "RR_INTEROP_TROUBLE_SECONDS";

#[test]
fn slow_replica_over_http_1_1() -> Outcome {
    over_http("HTTP/1.1", "", "slow-replica")
}

#[test]
fn slow_replica_over_h2c() -> Outcome {
    over_http("HTTP/2", "?version=h2c", "slow-replica")
}

#[test]
fn black_hole_over_http_1_1() -> Outcome {
    over_http("HTTP/1.1", "", "black-hole")
}

#[test]
fn black_hole_over_h2c() -> Outcome {
    over_http("HTTP/2", "?version=h2c", "black-hole")
}

/// In a module whose name tells that they need a nats-server.
mod over_nats {
    use super::{Outcome, through_broker};

    #[test]
    fn slow_replica() -> Outcome {
        through_broker("slow-replica")
    }

    #[test]
    fn black_hole() -> Outcome {
        through_broker("black-hole")
    }
}

fn over_http(name: &str, query: &str, trouble: &str) -> Outcome {
    let servers = served(&[1, 2, 3].map(|_| "http://127.0.0.1:0".to_owned()))?;
    let urls = servers.each_ref().map(|server| format!("{}{query}", server.url()));
    load(name, trouble, &urls)
}

fn through_broker(trouble: &str) -> Outcome {
    let (_broker, url) = broker()?;
    let urls = ["first", "second", "third"].map(|prefix| format!("{url}/{prefix}"));
    let _servers = served(&urls)?;
    load("NATS", trouble, &urls)
}

/// Starts a replica at each URL.
fn served(urls: &[String; 3]) -> Outcome<[Server; 3]> {
    let start =
        |at: usize| Server::start(&format!("replica-{at}"), ends().args(["serve", &urls[at]]));
    Ok([start(0)?, start(1)?, start(2)?])
}

/// Calls the replicas, and adds what was measured to the list of checks.
fn load(name: &str, trouble: &str, urls: &[String; 3]) -> Outcome {
    let seconds = std::env::var(SECONDS_VARIABLE).unwrap_or_else(|_| SECONDS.to_owned());
    let told = printed(ends().args(["load", name, trouble, &seconds]).args(urls))?;
    println!("{told}");
    passed(told.lines().next().unwrap_or_default())
}

/// The program of both ends.
fn ends() -> Command {
    command(env!("CARGO_BIN_EXE_replicas"))
}
