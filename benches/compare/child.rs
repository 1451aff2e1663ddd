//! What this program does as a child of itself: one cell, or the server of one.

use std::io::{Read as _, Write as _, stdin, stdout};
use std::process::Stdio;

use rr_benches_peers::drive::Driven;
use rr_benches_peers::{Result, Runs};
use rr_benches_peers::{counting, process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};

use crate::cell::{Cell, Task};
use crate::contenders::find;
use crate::{held, layers, overhead};

/// Does what it is told and prints the outcome as JSON.
pub(crate) fn run(task: &str) -> Result<()> {
    let outcome = match serde_json::from_str(task)? {
        Task::Load(cell) => serde_json::to_string(&load(&cell)?)?,
        Task::Layers { calls, rounds } => serde_json::to_string(&layers::measure(calls, rounds)?)?,
        Task::Held { url, calls } => serde_json::to_string(&held::measure(&url, calls)?)?,
        Task::Scale(scale) => scale.run()?,
        Task::AllocatorCost => serde_json::to_string(&overhead::of_the_allocator())?,
    };
    println!("{outcome}");
    Ok(())
}

/// Client and server share two workers when they share the process.
pub(crate) fn workers() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn load(cell: &Cell) -> Result<Driven> {
    if cell.counts {
        counting::start();
    }
    let peer = find(&cell.peer)?;
    workers()?.block_on(async {
        match &peer.runs {
            Runs::Together(drive) => drive(String::new(), cell.load(&peer, None)).await,
            Runs::Apart(_, drive) if cell.place.split => {
                let (server, address) = start_server(&cell.peer, &cell.broker_url()).await?;
                drive(address, cell.load(&peer, server.id())).await
            }
            Runs::Apart(serve, drive) => {
                let served = serve(cell.broker_url()).await?;
                drive(served.address.clone(), cell.load(&peer, None)).await
            }
            Runs::Elsewhere => Err("it is run by the parent".into()),
        }
    })
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

/// Serves until the standard input ends, which it does with the parent.
pub(crate) fn serve(peer: &str, broker: &str) -> Result<()> {
    let peer = find(peer)?;
    let Runs::Apart(serve, _) = &peer.runs else {
        return Err("it has no server of its own".into());
    };
    process::raise_file_limit()?;
    let runtime = workers()?;
    let served = runtime.block_on(serve(broker.to_owned()))?;
    writeln!(stdout(), "{}", served.address)?;
    stdout().flush()?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
