//! Scripts of Python and Node that hold several checks each, since a client of theirs takes long to start.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::{Outcome, command, ensure, installed, passed};
use crate::example::PING_HTTP;
use crate::server::lines;

/// How long one script may take in all.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(180);

#[test]
fn python_httpx() -> Outcome {
    let server = PING_HTTP.serve(None)?;
    holds(23, python("httpx_client.py").arg(server.url()))
}

#[test]
fn node_fetch() -> Outcome {
    let server = PING_HTTP.serve(None)?;
    holds(7, node("node_fetch.mjs").arg(server.url()))
}

#[test]
fn node_connect() -> Outcome {
    let server = PING_HTTP.serve(None)?;
    holds(22, node("connect_client.mjs").arg(server.url()))
}

/// One of Python's scripts.
pub(crate) fn python(script: &str) -> Command {
    let mut python = command(installed("venv/bin/python"));
    python.arg(format!("peers/{script}"));
    python
}

/// One of Node's scripts.
pub(crate) fn node(script: &str) -> Command {
    let mut node = command("node");
    node.arg(installed("node").join(script));
    node
}

/// Runs a script that prints one line per check and `end` at its end. Fails unless the script holds so many checks
/// and all of them pass.
pub(crate) fn holds(checks: usize, script: &mut Command) -> Outcome {
    let child = script.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cannot start {script:?}: {error}"))?;
    let outcome = tally(checks, &lines(&mut child));
    if outcome.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("cannot wait for {script:?}: {error}"))?;
    outcome?;
    ensure(status.success(), || format!("the script ended with {status}"))
}

/// Reads the lines of a script up to `end`. Fails unless they are so many checks and all of them pass.
pub(crate) fn tally(checks: usize, said: &mpsc::Receiver<String>) -> Outcome {
    let begin = Instant::now();
    let (mut count, mut failed, mut ended) = (0, Vec::new(), false);
    while let Ok(line) = said.recv_timeout(SCRIPT_TIMEOUT.saturating_sub(begin.elapsed())) {
        println!("{line}");
        if let Some(name) = line.strip_prefix("ok ") {
            count += 1;
            passed(name.trim())?;
        } else if line == "end" {
            ended = true;
            break;
        } else {
            failed.push(line);
        }
    }
    if begin.elapsed() >= SCRIPT_TIMEOUT {
        failed.push(format!("still running after {SCRIPT_TIMEOUT:?}"));
    }
    ensure(failed.is_empty(), || failed.join("\n"))?;
    ensure(ended, || "the script stopped early".to_owned())?;
    ensure(count == checks, || format!("the script holds {count} checks, not {checks}"))
}
