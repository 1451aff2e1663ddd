//! Calls through proxies while the servers behind them are killed and restarted in turn: no error claims that a
//! handler did not run which ran, and no unspecified call runs twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::{Outcome, command, ensure, passed, printed};
use crate::proxy::{Program, Proxy, free_ports};
use crate::server::Server;

/// Calls of a check.
const CALLS: usize = 2_000;

/// Names another number of calls.
const CALLS_VARIABLE: &str = "RR_INTEROP_CALLS";

/// Time between two kills. A handler takes up to 15 ms, so each kill finds some at work.
const BETWEEN_KILLS: Duration = Duration::from_millis(120);

/// Time for each thousand calls of a check, of which an idle machine takes a second.
const THOUSAND_TIMEOUT: Duration = Duration::from_secs(120);

const H2C: Through = Through {
    name: "HAProxy, h2c",
    program: Program::HaProxy { h2: true },
    query: "?version=h2c",
    kind: "unspecified",
};

const H1: Through = Through {
    name: "HAProxy, HTTP/1.1",
    program: Program::HaProxy { h2: false },
    query: "",
    kind: "unspecified",
};

const GET: Through = Through {
    name: "nginx, Connect GET",
    program: Program::Nginx,
    query: "?get_bytes_max=4096",
    kind: "safe",
};

#[test]
fn haproxy_over_h2c_bare() -> Outcome {
    H2C.calls("bare")
}

#[test]
fn haproxy_over_h2c_recommended() -> Outcome {
    H2C.calls("recommended")
}

#[test]
fn haproxy_over_http_1_1_bare() -> Outcome {
    H1.calls("bare")
}

#[test]
fn haproxy_over_http_1_1_recommended() -> Outcome {
    H1.calls("recommended")
}

#[test]
fn nginx_connect_get_bare() -> Outcome {
    GET.calls("bare")
}

#[test]
fn nginx_connect_get_recommended() -> Outcome {
    GET.calls("recommended")
}

#[test]
fn haproxy_announces_its_client() -> Outcome {
    let folder = folder("announced")?;
    let ports = free_ports::<2>()?;
    let start = |at: usize| {
        let url = format!("http://127.0.0.1:{}?proxy_protocol=required", ports[at]);
        let log = folder.join(format!("{at}"));
        Server::start(&format!("announced-{at}"), ends().args(["serve", &url]).arg(log))
    };
    let _servers = [start(0)?, start(1)?];
    let proxy = Proxy::start(Program::AnnouncingHaProxy, &folder, &ports)?;
    // Another address than that of HAProxy, which connects from 127.0.0.1.
    let whoami = |port: u16| {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "30", "--interface", "127.0.0.2"]);
        printed(curl.arg(format!("http://127.0.0.1:{port}/proxied/whoami")))
    };
    for _ in 0..4 {
        let told = whoami(proxy.port)?;
        ensure(told.starts_with("127.0.0.2:"), || format!("the peer is {told:?}"))?;
    }
    // A connection that does not begin with a header is not served.
    let direct = whoami(ports[0]);
    ensure(direct.is_err(), || format!("{direct:?} without a header"))?;
    passed("HAProxy, send-proxy-v2: the servers see its client's address")
}

/// The program of both ends.
fn ends() -> Command {
    command(env!("CARGO_BIN_EXE_proxied"))
}

/// What is between, what the client adds to the URL, and what kind of calls it makes.
struct Through {
    name: &'static str,
    program: Program,
    query: &'static str,
    kind: &'static str,
}

impl Through {
    /// One check, with a client of this stack.
    fn calls(&self, stack: &str) -> Outcome {
        let calls = std::env::var(CALLS_VARIABLE).map_or(Ok(CALLS), |calls| calls.parse());
        let calls = calls.map_err(|error| format!("{CALLS_VARIABLE}: {error}"))?;
        let folder = folder(&format!("{}-{stack}", self.program.name()))?;
        let ports = free_ports::<2>()?;
        let logs = [folder.join("first"), folder.join("second")];
        let start = |at: usize| {
            let url = format!("http://127.0.0.1:{}", ports[at]);
            Server::start(&format!("proxied-{at}"), ends().args(["serve", &url]).arg(&logs[at]))
        };
        let mut servers = [start(0)?, start(1)?];
        let proxy = Proxy::start(self.program, &folder, &ports)?;
        let url = format!("http://127.0.0.1:{}{}", proxy.port, self.query);
        let mut client = ends()
            .args(["call", &url, &calls.to_string(), self.kind, stack])
            .args(&logs)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the client: {error}"))?;
        let limit = THOUSAND_TIMEOUT * u32::try_from(calls.div_ceil(1000)).unwrap_or(u32::MAX);
        let (begin, mut kills) = (Instant::now(), 0_usize);
        while client.try_wait().map_err(|error| error.to_string())?.is_none() {
            thread::park_timeout(BETWEEN_KILLS);
            let at = kills % 2;
            servers[at].kill();
            let restarted = start(at);
            if restarted.is_err() || begin.elapsed() > limit {
                // It may have ended meanwhile.
                let _ = client.kill();
                let _ = client.wait();
            }
            servers[at] = restarted?;
            kills += 1;
        }
        let output = client.wait_with_output().map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure(kills > 1 && told.starts_with("lies=0 twice=0 unseen=0 "), || {
            format!("{told:?} after {kills} kills")
        })?;
        passed(&format!("{}: {calls} calls, {stack}: {told} kills={kills}", self.name))
    }
}

/// An empty folder for the files of one check.
pub(crate) fn folder(name: &str) -> Outcome<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // It fails when there is none, which is as good.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create {folder:?}: {error}"))?;
    Ok(folder)
}
