//! A server as a child process: ours under test, or a foreign one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::command::{Outcome, command, root, run};
use crate::steps::Stopwatch;

/// Where a server's standard error goes, from the workspace's root, as a file with its name.
pub(super) const LOGS: &str = "target/interop/logs";

/// It is built already, so that starting is quick; a slow machine may need some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server; ended when dropped.
pub(super) struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Starts a server and waits until it says where it serves.
    pub(super) fn start(name: &str, program: &mut Command) -> Outcome<Self> {
        let logs = root().join(LOGS);
        let log = logs.join(format!("{name}.log"));
        let errors = fs::create_dir_all(logs)
            .and_then(|()| File::create(&log))
            .map_err(|error| format!("cannot create {LOGS}/{name}.log: {error}"))?;
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let (said, saying) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // Reads to the end: a server must not block on a full pipe.
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = said.send(line);
                }
            });
        }
        let mut server = Self { child, url: String::new(), log };
        let line = saying.recv_timeout(START_TIMEOUT).map_err(|_| {
            format!("{name} said nothing on its standard output; it logged:\n{}", server.log())
        })?;
        line.strip_prefix("serving ")
            .filter(|url| url.contains("://"))
            .ok_or_else(|| format!("{name} said {line:?}, not `serving URL`"))?
            .clone_into(&mut server.url);
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The number of its process, which is ours to end.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What the server wrote to its standard error so far.
    pub(super) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends the server as the system does when memory is short: without a word.
    pub(super) fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the server to drain, as a process manager does.
    pub(super) fn terminate(&self) -> Outcome {
        run(&mut command("kill", ["-TERM", &self.process().to_string()]))
    }

    /// Waits for the server to end by itself.
    pub(super) fn wait(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let watch = Stopwatch::start();
        loop {
            let status = self.child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = status {
                return Ok(status);
            }
            if watch.elapsed() > limit {
                return Err(format!("still running after {} s", limit.as_secs()));
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
