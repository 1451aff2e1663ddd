//! `cargo xtask bench`: ours beside its peers, built first so that nothing compiles meanwhile.

use crate::command::{Outcome, cargo, run};
use crate::{interop, nats_server};

const BUILD: [&str; 7] =
    ["--release", "--package", "rr-benches", "--features", "peers", "--bin", "compare"];

/// Names the program of nats.go for `compare`.
const NATS_GO: &str = "RR_BENCH_NATS_GO";

/// Runs the command `bench`; the options are those of `compare`.
pub(crate) fn bench(options: &[String]) -> Outcome {
    let server = nats_server::find_or_fetch()?;
    let nats_go = interop::nats_bench();
    run(cargo(&["build"]).args(BUILD))?;
    let mut compare = cargo(&["run", "--quiet"]);
    compare.args(BUILD).arg("--").args(options).env(nats_server::VARIABLE, server);
    match nats_go {
        Ok(program) => {
            compare.env(NATS_GO, program);
        }
        // Its gate is then not met.
        Err(complaint) => println!("NOT measured: nats.go\n{complaint}"),
    }
    run(&mut compare)
}

/// Runs the command `bench simulate`; the options are those of the simulator.
pub(crate) fn simulate(options: &[String]) -> Outcome {
    let mut simulate = cargo(&["run", "--release", "--package", "rr-benches"]);
    simulate.args(["--features", "simulate", "--bin", "simulate", "--"]).args(options);
    run(&mut simulate)
}

/// Runs the command `bench --budgets`: one program after the other, each of them one thread, so that nothing
/// but the calls is counted.
pub(crate) fn budgets() -> Outcome {
    let server = nats_server::find_or_fetch()?;
    let mut tests = cargo(&["test", "--package", "rr-benches", "--features", "budgets", "--tests"]);
    tests.args(["--no-fail-fast", "--", "--nocapture", "--test-threads=1"]);
    run(tests.env(nats_server::VARIABLE, server))
}

/// Runs the command `bench worlds`: speed and memory of explorations, against their bounds.
pub(crate) fn worlds() -> Outcome {
    let package = ["run", "--release", "--package", "rr-benches", "--features", "worlds"];
    run(cargo(&package).args(["--bin", "worlds"]))
}
