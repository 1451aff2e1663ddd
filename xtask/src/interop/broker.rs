//! A nats-server as a child process.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Outcome, command};
use crate::steps::Stopwatch;
use crate::{debian, nats_server};

/// It listens after some milliseconds; a busy machine may need some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A nats-server on a random port of the loopback interface; ended when dropped.
pub(super) struct Broker {
    child: Child,
    url: String,
}

impl Broker {
    pub(super) fn start(folder: &Path) -> Outcome<Self> {
        let binary = nats_server::find_or_fetch()?;
        let folder = folder.join("nats-server");
        debian::empty(&folder)?;
        let log = File::create(folder.join("log"))
            .map_err(|error| format!("cannot create the nats-server's log: {error}"))?;
        let child = command(binary, ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start nats-server: {error}"))?;
        let mut broker = Self { child, url: String::new() };
        let watch = Stopwatch::start();
        while watch.elapsed() < START_TIMEOUT {
            if let Some(url) = announced(&folder) {
                broker.url = url;
                return Ok(broker);
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        Err(format!("nats-server announced no port; it logged:\n{log}"))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URL in the file that the server writes once it listens, unless it is half written.
fn announced(folder: &Path) -> Option<String> {
    let mut files = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let ports = files.find(|path| path.extension().is_some_and(|end| end == "ports"))?;
    let document: Value = serde_json::from_slice(&fs::read(ports).ok()?).ok()?;
    document["nats"][0].as_str().map(str::to_owned)
}
