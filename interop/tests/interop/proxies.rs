//! Calls through proxies while the servers behind them are killed and restarted in turn: no error claims that a
//! handler did not run which ran, and no unspecified call runs twice.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::proxy::{self, Program, Proxy, free_ports};
use super::server::Server;
use super::{Report, ensure};
use crate::command::{Outcome, cargo, command, root, run};
use crate::debian;
use crate::steps::{Steps, Stopwatch};
use crate::without::Without;

/// Calls of a check in `cargo xtask interop`.
pub(super) const CALLS: usize = 2_000;

/// Time between two kills. A handler takes up to 15 ms, so each kill finds some at work.
const BETWEEN_KILLS: Duration = Duration::from_millis(120);

/// Time for each thousand calls of a check, of which an idle machine takes a second.
const THOUSAND_TIMEOUT: Duration = Duration::from_secs(120);

/// One check: what is between, what the client adds to the URL, and what kind of calls it makes.
const CHECKS: [(&str, Program, &str, &str); 3] = [
    ("HAProxy, h2c", Program::HaProxy { h2: true }, "?version=h2c", "unspecified"),
    ("HAProxy, HTTP/1.1", Program::HaProxy { h2: false }, "", "unspecified"),
    ("nginx, Connect GET", Program::Nginx, "?get_bytes_max=4096", "safe"),
];

/// Runs every check that is not left out.
pub(super) fn check_all(
    folder: &Path,
    without: &Without,
    calls: usize,
    report: &mut Report,
    steps: &mut Steps,
) {
    if !steps.run("build of the ends of proxied calls", build) {
        return;
    }
    for (name, program, query, kind) in CHECKS {
        if without.has(program.name()) {
            println!("NOT run by choice: calls through {name}");
            continue;
        }
        steps.run(&format!("calls through {name}"), || {
            let binary = proxy::install(program, folder).map_err(|error| {
                format!("{error}\n(leave it out: --without {})", program.name())
            })?;
            report.whole(|report| {
                for stack in ["bare", "recommended"] {
                    let run = Run { program, binary: &binary, query, kind, stack, calls };
                    report.check(&format!("{name}: {calls} calls, {stack}"), run.outcome(folder));
                }
                Ok(())
            })
        });
    }
}

fn build() -> Outcome {
    run(&mut cargo(&["build", "--quiet", "--package", "rr-proxied"]))
}

/// The program of both ends.
fn ends() -> Command {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    command(target.join("debug/rr-proxied"), [""; 0])
}

struct Run<'a> {
    program: Program,
    binary: &'a Path,
    query: &'a str,
    kind: &'a str,
    stack: &'a str,
    calls: usize,
}

impl Run<'_> {
    fn outcome(&self, folder: &Path) -> Outcome {
        let folder = folder.join("proxied/runs");
        debian::empty(&folder)?;
        let ports = free_ports::<2>()?;
        let logs = [folder.join("first"), folder.join("second")];
        let start = |at: usize| {
            let url = format!("http://127.0.0.1:{}", ports[at]);
            Server::start(&format!("proxied-{at}"), ends().args(["serve", &url]).arg(&logs[at]))
        };
        let mut servers = [start(0)?, start(1)?];
        let proxy = Proxy::start(self.program, self.binary, ports)?;
        let url = format!("http://127.0.0.1:{}{}", proxy.port, self.query);
        let mut client = ends()
            .args(["call", &url, &self.calls.to_string(), self.kind, self.stack])
            .args(&logs)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the client: {error}"))?;
        let limit = THOUSAND_TIMEOUT * u32::try_from(self.calls.div_ceil(1000)).unwrap_or(u32::MAX);
        let (watch, mut kills) = (Stopwatch::start(), 0_usize);
        while client.try_wait().map_err(|error| error.to_string())?.is_none() {
            thread::park_timeout(BETWEEN_KILLS);
            let at = kills % 2;
            servers[at].kill();
            let restarted = start(at);
            if restarted.is_err() || watch.elapsed() > limit {
                // It may have ended meanwhile.
                let _ = client.kill();
                let _ = client.wait();
            }
            servers[at] = restarted?;
            kills += 1;
        }
        let output = client.wait_with_output().map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("        {told} kills={kills}");
        ensure(kills > 1 && told.starts_with("lies=0 twice=0 unseen=0 "), || {
            format!("{told:?} after {kills} kills")
        })
    }
}
