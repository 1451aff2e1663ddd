//! What this program does as a child of itself: one cell, or the server of one.

use std::io::{Read as _, Write as _, stdin, stdout};

use rr_benches_peers::drive::Driven;
use rr_benches_peers::{Result, Runs};
use rr_benches_peers::{counting, process::raise_file_limit};

use crate::cell::{Cell, Task};
use crate::contenders::find;
use crate::process::{start_server, workers};
use crate::scale::{burst, idle, parked};
use crate::{held, layers, overhead};

/// Does what it is told and prints the outcome as JSON.
pub(crate) fn run(task: &str) -> Result<()> {
    raise_file_limit()?;
    let outcome = match serde_json::from_str(task)? {
        Task::Load(cell) => serde_json::to_string(&load(&cell)?)?,
        Task::Layers { calls, rounds } => serde_json::to_string(&layers::measure(calls, rounds)?)?,
        Task::Held { url, calls } => serde_json::to_string(&held::measure(&url, calls)?)?,
        Task::Idle { peer, broker, connections } => {
            serde_json::to_string(&idle::measure(&peer, &broker, connections)?)?
        }
        Task::Parked { url, calls } => serde_json::to_string(&parked::measure(&url, calls)?)?,
        Task::Burst { url, calls } => serde_json::to_string(&burst::measure(&url, calls)?)?,
        Task::AllocatorCost => serde_json::to_string(&overhead::of_the_allocator())?,
    };
    println!("{outcome}");
    Ok(())
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

/// Serves until the standard input ends, which it does with the parent.
pub(crate) fn serve(peer: &str, broker: &str) -> Result<()> {
    let peer = find(peer)?;
    let Runs::Apart(serve, _) = &peer.runs else {
        return Err("it has no server of its own".into());
    };
    raise_file_limit()?;
    let runtime = workers()?;
    let served = runtime.block_on(serve(broker.to_owned()))?;
    writeln!(stdout(), "{}", served.address)?;
    stdout().flush()?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
