//! `cargo xtask interop`: clients that never heard of us against `ping_http -- serve`, and
//! `ping_http -- call` against servers that never heard of us.

mod answers;
mod curl;
mod foreign;
mod limits;
mod lives;
mod peers;
mod server;

use std::fs;
use std::path::PathBuf;

use crate::command::{Outcome, cargo, need, root, run};
use crate::steps::Steps;
use crate::test;
use crate::workspace::{find, packages};
use curl::Curl;
use server::Server;

/// The example that serves.
const EXAMPLE: &str = "ping_http";

/// Outcomes of single checks.
#[derive(Default)]
struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Counts a check and prints one line for it: its name, and what was seen if it failed.
    fn check(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {name}");
            }
            Err(seen) => {
                self.failed += 1;
                println!("FAILED  {name}: {seen}");
            }
        }
    }
}

/// Runs the command `interop`.
pub(crate) fn interop() -> Outcome {
    need("curl", "curl with HTTP/2 (Debian: apt-get install curl)")?;
    need("python3", "Python 3.9 or newer (Debian: apt-get install python3 python3-venv)")?;
    need("node", "Node 20 or newer")?;
    need("npm", "npm, which comes with Node")?;
    let packages = packages()?;
    let mut targets = find(&packages, test::EXAMPLES)?.targets_of("example");
    if !targets.any(|target| target.name == EXAMPLE) {
        return Err(format!("{} has no example `{EXAMPLE}` to serve", test::EXAMPLES));
    }
    let folder = folder()?;
    let mut steps = Steps::new("interop");
    let built = steps.run("build of the server", || {
        let package = test::EXAMPLES;
        run(&mut cargo(&["build", "--quiet", "--package", package, "--example", EXAMPLE]))
    });
    let python = steps.run("installation of Python's peers", || peers::install_python(&folder));
    let node = steps.run("installation of Node's peers", || peers::install_node(&folder));
    let mut report = Report::default();
    if built && python && node {
        steps.run("checks", || checks(&folder, &mut report));
    }
    let outcome = steps.finish();
    println!("{} passed, {} failed", report.passed, report.failed);
    outcome
}

/// Starts the server, runs every check and ends the server.
fn checks(folder: &std::path::Path, report: &mut Report) -> Outcome {
    let server = Server::start(folder)?;
    println!("server at {}", server.url());
    let curl = Curl::new(server.url(), folder);
    answers::check(&curl, report);
    limits::check(&curl, report);
    lives::check(&curl, &server, report);
    peers::httpx(folder, server.url(), report);
    peers::node(folder, "node_fetch.mjs", server.url(), report);
    peers::node(folder, "connect_client.mjs", server.url(), report);
    lives::check_drain(&curl, server, report);
    foreign::check(report);
    match report.failed {
        0 if report.passed > 0 => Ok(()),
        failed => Err(format!("{failed} checks failed, see {}", server::LOG)),
    }
}

/// The folder that keeps the peers and what they leave behind, created when it is not there.
fn folder() -> Outcome<PathBuf> {
    let folder = root().join("target/interop");
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot create target/interop: {error}"))?;
    Ok(folder)
}

/// Fails with what was seen unless the condition holds.
fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(seen()) }
}
