//! Child processes: found, run, bounded in time, and reported in words.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::stopwatch::Stopwatch;

/// What went wrong, in words for the person at the terminal.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Returns the workspace's root.
pub(crate) fn root() -> PathBuf {
    // Set by `cargo run`; the manifest's folder is one below the root.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// Builds a command that runs in the workspace's root.
pub(crate) fn command<S: Into<OsString>>(
    program: impl Into<OsString>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program.into());
    command.args(arguments.into_iter().map(Into::into)).current_dir(root()).stdin(Stdio::null());
    command
}

/// Builds a cargo command with the cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Runs a command whose output goes to the terminal.
pub(crate) fn run(command: &mut Command) -> Outcome {
    println!("$ {}", shown(command));
    let status = command.status().map_err(|error| unstartable(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{}`: {status}", shown(command))) }
}

/// Runs a command and returns what it printed on its standard output.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|error| unstartable(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}`: {}\n{}", shown(command), output.status, errors.trim_end()))
}

/// Returns whether a command can be started and succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Fails with what to install when a program is not there.
pub(crate) fn need(program: &str, install: &str) -> Outcome {
    if succeeds(&mut command(program, ["--version"])) {
        return Ok(());
    }
    Err(format!("`{program}` is needed and not found: install {install}"))
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = program.file_name().into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn unstartable(command: &Command, error: &io::Error) -> String {
    format!("cannot start `{}`: {error}", shown(command))
}

/// Runs a command for at most `limit`; its output is part of the error and shown only then.
pub(crate) fn run_quietly(command: &mut Command, limit: Duration) -> Outcome {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| unstartable(command, &error))?;
    let printed = Arc::new(Mutex::new(Vec::new()));
    let (ended, end) = mpsc::channel();
    if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
        collect(stdout, Arc::clone(&printed), ended.clone());
        collect(stderr, Arc::clone(&printed), ended);
    }
    let watch = Stopwatch::start();
    // Both streams end when the child does, so that no polling is needed to bound the wait.
    let in_time = (0..2).all(|_| end.recv_timeout(limit.saturating_sub(watch.elapsed())).is_ok());
    let verdict = close(&mut child, in_time, limit)?;
    let Some(complaint) = verdict else { return Ok(()) };
    let printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&printed);
    Err(format!("{}\n`{}`: {complaint}", text.trim_end(), shown(command)))
}

/// Waits for a child that ended, ends one that did not, and says what is wrong if anything is.
fn close(child: &mut Child, in_time: bool, limit: Duration) -> Outcome<Option<String>> {
    if !in_time {
        // It may have ended between the timeout and this line; waiting is right in both cases.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("cannot wait for a child: {error}"))?;
    if !in_time {
        return Ok(Some(format!("still running after {} s, ended", limit.as_secs())));
    }
    Ok((!status.success()).then(|| status.to_string()))
}

/// Appends a stream to `printed` until it ends, then says so.
fn collect(
    mut stream: impl Read + Send + 'static,
    printed: Arc<Mutex<Vec<u8>>>,
    ended: Sender<()>,
) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
            printed.extend_from_slice(&buffer[..count]);
        }
        let _ = ended.send(());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_child_shows_its_output() {
        let mut child = command("sh", ["-c", "echo printed; exit 3"]);
        let message = run_quietly(&mut child, Duration::from_secs(10)).unwrap_err();
        assert!(message.contains("printed") && message.contains('3'), "{message}");
    }

    #[test]
    fn a_child_over_its_limit_is_ended() {
        let mut child = command("sh", ["-c", "echo printed; exec sleep 60"]);
        let message = run_quietly(&mut child, Duration::from_millis(300)).unwrap_err();
        assert!(message.contains("printed") && message.contains("still running"), "{message}");
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let message = need("no-such-program-anywhere", "it").unwrap_err();
        assert!(message.ends_with("install it"), "{message}");
    }
}
