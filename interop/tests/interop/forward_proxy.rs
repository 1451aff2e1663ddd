//! Calls through tinyproxy, a forward proxy: tunnels with credentials, and its refusals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::{Outcome, command, ensure, installed};
use crate::example::{PING_HTTP, Told};
use crate::proxy::free_ports;

/// What `/ping` answers.
const HELLO: &str = "Hello from the server!";

/// A proxy that opened no tunnel: nothing was sent.
const REFUSED: Told = ("Unavailable", "NotSent", "Intermediary");

/// It listens after some milliseconds; a busy machine may need some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

checks! {
    tinyproxy_tunnels_calls: answered("");
    tinyproxy_tunnels_calls_over_http_2: answered("?version=h2c");
    tinyproxy_without_credentials_answers_407: refused("", None, "answered 407");
    tinyproxy_with_wrong_credentials_answers_407: refused("rr:wrong@", None, "answered 407");
    tinyproxy_answers_403_for_other_ports: refused("rr:secret@", Some(443), "answered 403");
    tinyproxy_answers_500_for_a_server_that_is_gone: gone();
}

/// A running tinyproxy; ended when dropped.
struct Tinyproxy {
    child: Child,
    port: u16,
}

impl Tinyproxy {
    /// Starts it; `allowed` is the only port to which it opens tunnels.
    fn start(allowed: Option<u16>) -> Outcome<Self> {
        let [port] = free_ports()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tinyproxy-{port}"));
        fs::create_dir_all(&folder).map_err(|error| format!("cannot create a folder: {error}"))?;
        let allowed = allowed.map_or_else(String::new, |port| format!("ConnectPort {port}\n"));
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 64\nBasicAuth rr secret\n{allowed}"
        );
        let configuration = folder.join("configuration");
        fs::write(&configuration, text).map_err(|error| format!("cannot write: {error}"))?;
        let child = command(binary())
            .args(["-d", "-c"])
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start tinyproxy: {error}"))?;
        let proxy = Self { child, port };
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure(begin.elapsed() < START_TIMEOUT, || "tinyproxy does not listen".to_owned())?;
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(proxy)
    }

    /// Adds the proxy to the URL of a server.
    fn through(&self, url: &str, credentials: &str) -> String {
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}proxy=http://{credentials}127.0.0.1:{}", self.port)
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program of Debian that `cargo xtask interop` unpacks, else the system's.
fn binary() -> PathBuf {
    let unpacked = installed("tinyproxy").join("usr/bin/tinyproxy");
    if unpacked.is_file() { unpacked } else { Path::new("/usr/bin/tinyproxy").to_owned() }
}

fn answered(query: &str) -> Outcome {
    let (server, proxy) = (PING_HTTP.serve(None)?, Tinyproxy::start(None)?);
    let url = format!("{}{query}", server.url());
    PING_HTTP.is_answered(&proxy.through(&url, "rr:secret@"), HELLO)
}

fn refused(credentials: &str, allowed: Option<u16>, says: &str) -> Outcome {
    let (server, proxy) = (PING_HTTP.serve(None)?, Tinyproxy::start(allowed)?);
    let called = PING_HTTP.fails(&proxy.through(server.url(), credentials), REFUSED)?;
    let shows = called.complained.contains("secret") || called.complained.contains("wrong");
    ensure(called.complained.contains(says) && !shows, || called.seen())
}

fn gone() -> Outcome {
    let ([port], proxy) = (free_ports()?, Tinyproxy::start(None)?);
    let url = format!("http://127.0.0.1:{port}");
    let called = PING_HTTP.fails(&proxy.through(&url, "rr:secret@"), REFUSED)?;
    ensure(called.complained.contains("answered 500"), || called.seen())
}
