//! Go: the toolchain, the libraries and the programs over net/http and nats.go.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers::{copy, install_python, python, same, scripts};
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

const PROGRAMS: [&str; 7] = [
    "http_server",
    "http_client",
    "https_server",
    "https_client",
    "nats_responder",
    "nats_requester",
    BENCH,
];

/// Gets the toolchain and the libraries, unless they are there in the pinned version, and builds
/// the programs.
pub(super) fn install(folder: &Path) -> Outcome {
    install_python(folder)?;
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
