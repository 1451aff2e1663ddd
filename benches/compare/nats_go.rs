//! nats.go, in a program of its own that `cargo xtask bench` builds.

use std::env;
use std::path::PathBuf;

use rr_benches_peers::Result;
use tokio::process::Command;

use crate::cell::Cell;

pub(crate) const NAME: &str = "nats.go";

/// Names the program, before the place where it is built.
const VARIABLE: &str = "RR_BENCH_NATS_GO";

/// The program under the load of a cell; it answers as a child of `compare` does.
pub(crate) fn command(cell: &Cell) -> Result<Command> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/interop/go/programs/nats_bench");
    let program = env::var_os(VARIABLE).map_or_else(|| PathBuf::from(built), PathBuf::from);
    if !program.is_file() {
        return Err("it is not built: `cargo xtask bench` does that".into());
    }
    let (url, process) = cell.broker.as_ref().ok_or("there is no nats-server")?;
    let place = &cell.place;
    let mut command = Command::new(program);
    command
        .args([if place.split { "split" } else { "same" }, url, &process.to_string()])
        .args([place.body_bytes.to_string(), place.concurrency.to_string()])
        .args([cell.warm_up, cell.span].map(|span| span.as_millis().to_string()))
        // As many threads as rr has workers.
        .env("GOMAXPROCS", "2");
    Ok(command)
}
