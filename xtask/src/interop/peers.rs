//! The peers that are no part of a system: installed below `target/interop`, run as scripts.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Report;
use crate::command::{Outcome, command, root, run};
use crate::steps::Stopwatch;

/// How long one script may take in all.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(180);

/// What Node's scripts are made of.
const NODE_FILES: [&str; 6] = [
    "checks.mjs",
    "connect_client.mjs",
    "nats_client.mjs",
    "nats_responder.mjs",
    "node_fetch.mjs",
    "package.json",
];

/// Creates the virtual environment with httpx and nats-py, unless it is there in the pinned versions.
pub(super) fn install_python(folder: &Path) -> Outcome {
    let requirements = scripts().join("requirements.txt");
    let (environment, stamp) = (folder.join("venv"), folder.join("venv/requirements.txt"));
    if same(&requirements, &stamp) {
        println!("{} is up to date", shown(&environment));
        return Ok(());
    }
    run(command("python3", ["-m", "venv"]).arg(&environment)).map_err(|error| {
        format!("{error}\nif the module is missing: apt-get install python3-venv")
    })?;
    run(command(python(folder), ["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&requirements))?;
    copy(&requirements, &stamp)
}

/// Installs the clients of Connect and NATS beside the scripts, unless they are there in the pinned versions.
pub(super) fn install_node(folder: &Path) -> Outcome {
    let folder = folder.join("node");
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create a folder: {error}"))?;
    // Modules are looked up from where the script is.
    for script in NODE_FILES {
        copy(&scripts().join(script), &folder.join(script))?;
    }
    let lock = scripts().join("package-lock.json");
    let stamp = folder.join("node_modules/installed.json");
    if same(&lock, &stamp) {
        println!("{} is up to date", shown(&folder));
        return Ok(());
    }
    copy(&lock, &folder.join("package-lock.json"))?;
    let mut npm = command("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(npm.current_dir(&folder))?;
    copy(&lock, &stamp)
}

/// Runs the checks of one of Python's scripts.
pub(super) fn python_script(folder: &Path, name: &str, arguments: &[&str], report: &mut Report) {
    let script = scripts().join(name);
    script_checks(name, command(python(folder), [script]).args(arguments), report);
}

/// Runs the checks of one of Node's scripts.
pub(super) fn node(folder: &Path, name: &str, url: &str, report: &mut Report) {
    let script = folder.join("node").join(name);
    script_checks(name, command("node", [script]).arg(url), report);
}

/// Runs a script that prints one line per check and `end` at its end, for a limited time.
fn script_checks(name: &str, script: &mut Command, report: &mut Report) {
    let end = read_checks(script, report);
    // A script that reached its end adds no line of its own.
    if let Err(seen) = end {
        report.check(&format!("{name}: the script ran to its end"), Err(seen));
    }
}

fn read_checks(script: &mut Command, report: &mut Report) -> Outcome {
    let child = script.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cannot start it: {error}"))?;
    let (said, saying) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
    }
    let watch = Stopwatch::start();
    let mut ended = false;
    // The scripts print their lines in the form of `Report::check`.
    while let Ok(line) = saying.recv_timeout(SCRIPT_TIMEOUT.saturating_sub(watch.elapsed())) {
        if line == "end" {
            ended = true;
            continue;
        }
        println!("{line}");
        report.passed += usize::from(line.starts_with("ok "));
        report.failed += usize::from(line.starts_with("FAILED "));
    }
    let in_time = watch.elapsed() < SCRIPT_TIMEOUT;
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("cannot wait for it: {error}"))?;
    match (in_time, ended && status.success()) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("it stopped early, {status}")),
        (false, _) => Err(format!("still running after {SCRIPT_TIMEOUT:?}")),
    }
}

pub(super) fn python(folder: &Path) -> PathBuf {
    folder.join("venv/bin/python")
}

pub(super) fn scripts() -> PathBuf {
    root().join("xtask/interop")
}

pub(super) fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

pub(super) fn copy(from: &Path, to: &Path) -> Outcome {
    let copied = fs::copy(from, to).map(|_| ());
    copied.map_err(|error| format!("cannot copy {} to {}: {error}", shown(from), shown(to)))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
