//! `cargo xtask interop`: clients that never heard of us against `ping_http -- serve` and
//! `ping_nats -- serve`, and both with `-- call` against servers that never heard of us.

mod answers;
mod broker;
mod curl;
mod example;
mod foreign;
mod go;
mod limits;
mod lives;
mod nats;
mod peers;
mod proxies;
mod proxy;
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Outcome, need, root};
use crate::steps::Steps;
use crate::test;
use crate::without::Without;
use crate::workspace::{Target, find, packages};
use curl::Curl;
use example::Example;

/// The example that serves and calls over HTTP.
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

    /// Runs a group of checks, which fails when it breaks off, a check of it fails or it has none.
    fn whole(&mut self, group: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        let (passed, failed) = (self.passed, self.failed);
        group(self)?;
        match self.failed - failed {
            0 if self.passed > passed => Ok(()),
            failed => Err(format!("{failed} checks failed; the servers' logs: {}", server::LOGS)),
        }
    }
}

/// Runs the command `interop`.
pub(crate) fn interop(without: &Without) -> Outcome {
    need("curl", "curl with HTTP/2 (Debian: apt-get install curl)")?;
    need("python3", "Python 3.9 or newer (Debian: apt-get install python3 python3-venv)")?;
    need("node", "Node 20 or newer")?;
    need("npm", "npm, which comes with Node")?;
    let packages = packages()?;
    let examples: Vec<&Target> = find(&packages, test::EXAMPLES)?.targets_of("example").collect();
    let target = |name: &str| examples.iter().find(|example| example.name == name);
    let http = target(EXAMPLE)
        .ok_or_else(|| format!("{} has no example `{EXAMPLE}` to serve", test::EXAMPLES))?;
    let nats = target(nats::EXAMPLE).filter(|_| !without.has("nats"));
    let folder = folder()?;
    let mut steps = Steps::new("interop");
    let http = build(http, &mut steps);
    let nats = nats.map(|nats| build(nats, &mut steps));
    let python = steps.run("installation of Python's peers", || peers::install_python(&folder));
    let node = steps.run("installation of Node's peers", || peers::install_node(&folder));
    let go = python
        && !without.has("go")
        && steps.run("installation of Go's peers", || go::install(&folder));
    let mut report = Report::default();
    if let (Some(http), true, true) = (http, python, node) {
        steps.run("checks over HTTP", || report.whole(|report| checks(&folder, &http, go, report)));
        if let Some(Some(nats)) = &nats {
            steps.run("checks over NATS", || {
                report.whole(|report| nats::check(&folder, nats, go, report))
            });
        }
    }
    proxies::check_all(&folder, without, proxies::CALLS, &mut report, &mut steps);
    if !go {
        let why = if without.has("go") { " by choice" } else { " (leave Go out: --without go)" };
        println!("NOT run{why}: {}", go::CHECKS);
    }
    if nats.is_none() {
        let why = if without.has("nats") { "left out by choice" } else { "no such example yet" };
        println!("NOT run: checks over NATS with {}, {why}", nats::EXAMPLE);
    }
    let outcome = steps.finish();
    println!("{} passed, {} failed", report.passed, report.failed);
    outcome
}

/// Runs the checks behind proxies alone, with so many calls each.
pub(crate) fn proxies(calls: usize, without: &Without) -> Outcome {
    let (folder, mut steps, mut report) = (folder()?, Steps::new("interop"), Report::default());
    proxies::check_all(&folder, without, calls, &mut report, &mut steps);
    let outcome = steps.finish();
    println!("{} passed, {} failed", report.passed, report.failed);
    outcome
}

/// Installs Go and nats.go, and builds the program that is measured beside ours.
pub(crate) fn nats_bench() -> Outcome<PathBuf> {
    let folder = folder()?;
    peers::install_python(&folder)?;
    go::install(&folder)?;
    Ok(go::binary(&folder.join("go"), go::BENCH))
}

fn build(target: &Target, steps: &mut Steps) -> Option<Example> {
    let mut built = None;
    steps.run(&format!("build of {}", target.name), || {
        built = Some(Example::build(target)?);
        Ok(())
    });
    built
}

/// Starts the server, runs every check over HTTP and ends the server.
fn checks(folder: &Path, example: &Example, go: bool, report: &mut Report) -> Outcome {
    let server = example.serve(None)?;
    println!("server at {}", server.url());
    let curl = Curl::new(server.url(), folder);
    answers::check(&curl, report);
    limits::check(&curl, report);
    lives::check(&curl, &server, report);
    peers::python_script(folder, "httpx_client.py", &[server.url()], report);
    peers::node(folder, "node_fetch.mjs", server.url(), report);
    peers::node(folder, "connect_client.mjs", server.url(), report);
    if go {
        go::check_http(folder, example, server.url(), report);
    }
    lives::check_drain(&curl, server, report);
    foreign::check(example, report);
    Ok(())
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
