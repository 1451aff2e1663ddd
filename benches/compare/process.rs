//! The processes that this program starts of itself, and the runtime of each.

use std::process::Stdio;
use std::time::Duration;

use rr_benches_peers::Result;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::cell::Task;

/// What a child may take longer than it was told.
const GRACE: Duration = Duration::from_secs(30);

/// Client and server share two workers when they share the process.
pub(crate) fn workers() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Starts the server of a peer, which ends with this process, and waits for its address.
pub(crate) async fn start_server(peer: &str, broker: &str) -> Result<(Child, String)> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["serve", peer, broker]).kill_on_drop(true);
    let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let said = server.stdout.take().ok_or("the server has no output")?;
    let address = BufReader::new(said).lines().next_line().await?;
    Ok((server, address.ok_or("the server ended before it served")?))
}

/// This program as its own child.
pub(crate) fn own(task: &Task) -> Result<Command> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["child", &serde_json::to_string(task)?]);
    Ok(command)
}

/// Runs a task in a separate child process.
pub(crate) async fn ask<T: DeserializeOwned>(task: &Task) -> Result<T> {
    answer(own(task)?, GRACE).await
}

/// Runs a child and reads what it printed.
pub(crate) async fn answer<T: DeserializeOwned>(
    mut command: Command,
    expected: Duration,
) -> Result<T> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // What needs longer than that hangs.
    let Ok(output) = timeout(expected + GRACE, command.spawn()?.wait_with_output()).await else {
        return Err("it did not end in time".into());
    };
    let output = output?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(format!("{}: {}", output.status, complaint.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
