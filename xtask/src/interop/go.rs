//! Go: programs over net/http and nats.go.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::example::Example;
use super::peers::{copy, python, same, scripts};
use super::server::Server;
use super::{Report, ensure};
use crate::command::{Outcome, command, output, run};
use crate::debian;

/// nats.go and what it is made of. Its tests need more, its users do not.
const LIBRARIES: [&str; 4] = [
    "golang-github-nats-io-go-nats-dev",
    "golang-github-nats-io-nkeys-dev",
    "golang-github-nats-io-nuid-dev",
    "golang-golang-x-crypto-dev",
];

/// The one that measures nats.go beside ours, in `cargo xtask bench`.
pub(super) const BENCH: &str = "nats_bench";

const PROGRAMS: [&str; 5] =
    ["http_server", "http_client", "nats_responder", "nats_requester", BENCH];

/// What is not checked when there is no Go.
pub(super) const CHECKS: &str = "net/http client -> ping_http, ping_http -> net/http server, \
                                 nats.go requester -> ping_nats, ping_nats -> nats.go responder";

const HELLO: &str = "Hello from the server!";

/// Gets the toolchain and the libraries, unless they are there in the pinned version, and builds
/// the programs.
pub(super) fn install(folder: &Path) -> Outcome {
    let pins = scripts().join("go/requirements.txt");
    let python = python(folder);
    let (folder, stamp) = (folder.join("go"), folder.join("go/requirements.txt"));
    if !same(&pins, &stamp) {
        debian::empty(&folder)?;
        let mut pip = command(python, ["-m", "pip", "install", "--quiet"]);
        pip.args(["--no-deps", "--no-compile", "--require-hashes", "--only-binary=:all:"]);
        run(pip.arg("--target").arg(folder.join("toolchain")).arg("--requirement").arg(&pins))?;
        debian::unpack(&LIBRARIES, &folder.join("libraries"))?;
        copy(&pins, &stamp)?;
    }
    print!("{}", output(go(&folder).arg("version"))?);
    for name in PROGRAMS {
        let source = scripts().join("go").join(name).join("main.go");
        run(go(&folder).args(["build", "-trimpath", "-o"]).arg(binary(&folder, name)).arg(source))?;
    }
    Ok(())
}

/// Go as it comes in the wheel, which keeps all it writes to itself.
fn go(folder: &Path) -> Command {
    let mut go = command(folder.join("toolchain/go/bin/go"), [""; 0]);
    go.env_remove("GOROOT")
        .env("GO111MODULE", "off")
        .env("GOPATH", folder.join("libraries/usr/share/gocode"))
        .env("GOCACHE", folder.join("cache"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        // Neither another toolchain nor a person's settings take part.
        .envs([("GOTOOLCHAIN", "local"), ("GOENV", "off")])
        .envs([("GOFLAGS", "-p=2"), ("CGO_ENABLED", "0")]);
    go
}

/// Where a program is built; `folder` is Go's own.
pub(super) fn binary(folder: &Path, name: &str) -> PathBuf {
    folder.join("programs").join(name)
}

fn program(folder: &Path, name: &str) -> Command {
    command(binary(&folder.join("go"), name), [""; 0])
}

/// net/http, both ways.
pub(super) fn check_http(folder: &Path, example: &Example, url: &str, report: &mut Report) {
    report.check("net/http: a client of ping_http", {
        let client = output(program(folder, "http_client").arg(format!("{url}/ping")));
        client.and_then(|printed| printed_all(&printed, &format!("{HELLO}\n")))
    });
    report.check("net/http: a server for ping_http", {
        Server::start("go-http", &mut program(folder, "http_server"))
            .and_then(|server| example.is_answered(server.url(), HELLO))
    });
}

/// nats.go as the requester, of `service.ping` that is served.
pub(super) fn check_requester(folder: &Path, url: &str, report: &mut Report) {
    report.check("nats.go: a requester of ping_nats", {
        let requester = output(program(folder, "nats_requester").arg(url));
        requester.and_then(|printed| printed_all(&printed, "pong\n"))
    });
}

/// nats.go as the requester, of `service.ping` that is not served any more.
pub(super) fn check_nobody(folder: &Path, url: &str, report: &mut Report) {
    report.check("nats.go: no responders once ping_nats has ended", {
        match output(program(folder, "nats_requester").arg(url)) {
            Ok(printed) => Err(format!("it printed {printed:?}")),
            Err(error) => ensure(error.contains("no responders available"), || error),
        }
    });
}

/// nats.go as the responder.
pub(super) fn check_responder(folder: &Path, example: &Example, url: &str, report: &mut Report) {
    report.check("nats.go: a responder for ping_nats", {
        Server::start("go-nats", program(folder, "nats_responder").arg(url))
            .and_then(|server| example.is_answered(server.url(), "pong"))
    });
}

fn printed_all(printed: &str, expected: &str) -> Outcome {
    ensure(printed == expected, || format!("printed {printed:?}, not {expected:?}"))
}
