//! A server as a child process: one of rr under test, or a foreign one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::{Outcome, command, printed};

/// It is built already, so that starting is quick; a slow machine may need some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server; ended when dropped, which prints its log.
pub(crate) struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Starts a server and waits for the URL that it prints.
    pub(crate) fn start(name: &str, program: &mut Command) -> Outcome<Self> {
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
        let errors = File::create(&log).map_err(|error| format!("cannot create a log: {error}"))?;
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let said = lines(&mut child);
        let mut server = Self { child, url: String::new(), log };
        let line = said
            .recv_timeout(START_TIMEOUT)
            .map_err(|_| format!("{name} said nothing on its standard output"))?;
        line.strip_prefix("serving ")
            .filter(|url| url.contains("://"))
            .ok_or_else(|| format!("{name} said {line:?}, not `serving URL`"))?
            .clone_into(&mut server.url);
        Ok(server)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What the server wrote to its standard error so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Ends the server as the system does when memory is short: without a word.
    pub(crate) fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the server to drain, as a process manager does.
    pub(crate) fn terminate(&self) -> Outcome {
        printed(command("kill").args(["-TERM", &self.process().to_string()])).map(drop)
    }

    /// Waits until the server has ended by itself with success.
    pub(crate) fn ends(&mut self) -> Outcome {
        let status = wait(&mut self.child, Duration::from_secs(10))?;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        eprint!("{}:\n{}", self.log.display(), self.log());
    }
}

/// Reads the lines that a child prints, to the end: a child must not block on a full pipe.
pub(crate) fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (said, saying) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
    }
    saying
}

/// Waits for a child to end by itself.
fn wait(child: &mut Child, limit: Duration) -> Outcome<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        if begin.elapsed() > limit {
            return Err(format!("still running after {} s", limit.as_secs()));
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}
