//! Outcomes of checks, the list of those that passed, and what all checks share.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was seen in place of what was expected.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Names the file to which each check that passes adds a line. `cargo xtask interop` prints and counts the lines.
const LIST: &str = "RR_INTEROP_LIST";

/// Declares a test for each check.
macro_rules! checks {
    ($($name:ident: $run:expr;)+) => {$(
        #[test]
        fn $name() -> crate::check::Outcome {
            $run?;
            crate::check::passed(concat!(module_path!(), "::", stringify!($name)))
        }
    )+};
}

/// Adds a check that passed to the list, if there is one.
pub(crate) fn passed(line: &str) -> Outcome {
    let Some(list) = std::env::var_os(LIST) else { return Ok(()) };
    let list = OpenOptions::new().create(true).append(true).open(list);
    let written = list.and_then(|mut list| list.write_all(format!("{line}\n").as_bytes()));
    written.map_err(|error| format!("cannot write the list of checks: {error}"))
}

/// Fails with what was seen unless the condition holds.
pub(crate) fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(seen()) }
}

/// Builds a command that runs in this package's folder.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// Runs a command and returns what it printed on its standard output.
pub(crate) fn printed(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{}", output.status, errors.trim_end()))
}

/// Returns a path below the folder of what `cargo xtask interop` installed.
pub(crate) fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop").join(path)
}

/// Adds the libraries that came with a program of Debian's, which was unpacked with its `usr` and not installed.
pub(crate) fn with_libraries(mut command: Command, usr: &Path) -> Command {
    let Some(folder) = folders(&usr.join("lib")).find(|path| of_machine(path)) else {
        return command;
    };
    // Some packages have a folder of their own.
    let mut all = OsString::from(&folder);
    for inner in folders(&folder) {
        all.push(":");
        all.push(inner);
    }
    command.env("LD_LIBRARY_PATH", all);
    command
}

/// The folders within a folder.
fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// Whether a folder has the libraries of one kind of machine, such as `x86_64-linux-gnu`.
fn of_machine(folder: &Path) -> bool {
    folder.to_string_lossy().contains("-linux-")
}
