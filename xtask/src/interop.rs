//! `cargo xtask interop`: installs the foreign peers, builds the examples and runs the tests of `rr-interop`, one at a
//! time, since some of them measure.

mod go;
mod peers;

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Outcome, cargo, command, need, root, run, succeeds};
use crate::steps::Steps;
use crate::without::Without;
use crate::{debian, nats_server};

/// Names the file to which each check that passes adds a line.
const LIST: &str = "RR_INTEROP_LIST";

/// A part of the installation: its name, what the names of its tests contain, and how it is installed.
type Part = (&'static str, &'static str, fn(&Path) -> Outcome);

const PARTS: [Part; 8] = [
    ("python", "::python_", peers::install_python),
    ("node", "::node_", peers::install_node),
    ("go", "::go_", go::install),
    ("nats", "nats::", |_| nats_server::find_or_fetch().map(drop)),
    ("haproxy", "::haproxy_", |folder| proxy("haproxy", folder)),
    ("nginx", "::nginx_", |folder| proxy("nginx", folder)),
    ("tinyproxy", "::tinyproxy_", tinyproxy),
    ("chromium", "::chromium_", chromium),
];

/// Runs the command `interop`; `filters` are parts of the names of tests.
pub(crate) fn interop(without: &Without, filters: &[String]) -> Outcome {
    need("curl", "curl with HTTP/2 (Debian: apt-get install curl)")?;
    need("python3", "Python 3.9 or newer (Debian: apt-get install python3 python3-venv)")?;
    need("node", "Node 20 or newer")?;
    need("npm", "npm, which comes with Node")?;
    let folder = folder()?;
    let mut steps = Steps::new("interop");
    let mut skipped = Vec::new();
    for (part, tests, install) in PARTS {
        if without.has(part) {
            println!("NOT run by choice: tests with `{tests}` in their names");
        } else if steps.run(&format!("installation of {part}"), || install(&folder)) {
            continue;
        } else {
            println!(
                "NOT run (leave it out: --without {part}): tests with `{tests}` in their names"
            );
        }
        skipped.extend(["--skip", tests]);
    }
    if steps.run("build of the examples", || run(cargo(&EXAMPLES).arg("--workspace"))) {
        steps.run("checks", || checks(&folder.join("passed"), filters, &skipped));
    }
    steps.finish()
}

const EXAMPLES: [&str; 8] =
    ["build", "--quiet", "--example", "orders", "--example", "ping_http", "--example", "ping_nats"];

/// Runs the tests, and prints and counts the checks that passed.
fn checks(list: &Path, filters: &[String], skipped: &[&str]) -> Outcome {
    fs::write(list, "").map_err(|error| format!("cannot write the list of checks: {error}"))?;
    let nextest = succeeds(&mut cargo(&["nextest", "--version"]));
    let mut tests =
        cargo(if nextest { &["nextest", "run", "--test-threads=1"] } else { &["test"] });
    // As `cargo xtask test` selects features, so that nothing is compiled again.
    tests.args(["--workspace", "--features", "rr-interop/peers", "--test", "interop"]);
    tests.args(["--no-fail-fast", "--"]).args((!nextest).then_some("--test-threads=1"));
    let outcome = run(tests.args(filters).args(skipped).env(LIST, list));
    let passed = fs::read_to_string(list).unwrap_or_default();
    println!("{passed}{} checks passed", passed.lines().count());
    match outcome {
        Ok(()) if passed.is_empty() => Err("no check was run: the filters match none".to_owned()),
        outcome => outcome,
    }
}

/// Installs Go and nats.go, and builds the program that is measured beside ours.
pub(crate) fn nats_bench() -> Outcome<PathBuf> {
    let folder = folder()?;
    go::install(&folder)?;
    Ok(go::binary(&folder.join("go"), go::BENCH))
}

/// Unpacks a proxy of Debian's, unless the system's starts. The tests prefer what is unpacked.
fn proxy(name: &str, folder: &Path) -> Outcome {
    let unpacked = folder.join(name).join("usr/sbin").join(name);
    let system = Path::new("/usr/sbin").join(name);
    if unpacked.is_file() || succeeds(&mut command(system, ["-v"])) {
        return Ok(());
    }
    debian::unpack_whole(name, &folder.join(name))
}

/// Unpacks Debian's tinyproxy, unless the system's starts.
fn tinyproxy(folder: &Path) -> Outcome {
    let folder = folder.join("tinyproxy");
    if folder.join("usr/bin/tinyproxy").is_file()
        || succeeds(&mut command("/usr/bin/tinyproxy", ["-v"]))
    {
        return Ok(());
    }
    debian::unpack(&["tinyproxy-bin"], &folder)
}

/// Unpacks Debian's Chromium without a window, unless the system's starts. The page that it opens is part of what
/// Node's clients are installed with.
fn chromium(folder: &Path) -> Outcome {
    if !folder.join("node/node_modules/@connectrpc/connect-web").is_dir() {
        return Err("the pages of the browser need the part node".to_owned());
    }
    let binary = "usr/lib/chromium/chromium-headless-shell";
    let system = Path::new("/").join(binary);
    if folder.join("chromium").join(binary).is_file()
        || succeeds(&mut command(system, ["--version"]))
    {
        return Ok(());
    }
    debian::unpack_whole("chromium-headless-shell", &folder.join("chromium"))
}

/// The folder of the installed peers, created when it is not there.
fn folder() -> Outcome<PathBuf> {
    let folder = root().join("target/interop");
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot create target/interop: {error}"))?;
    Ok(folder)
}
