//! Overload in virtual time: calls that arrive whether or not earlier ones were answered, services
//! with queues, and several sets of layers around them.
//!
//! `cargo xtask bench simulate` prints a table for each scenario. `--only NAME` selects those with
//! NAME in their names, and `--plots DIRECTORY` draws a plot of each. `--limits` compares limits of
//! calls in flight instead, and `--check` judges the bounds that the layers keep.

mod check;
mod limits;
mod load;
mod plot;
mod report;
mod scenario;
mod service;
mod stacks;
mod tower;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use limits::Comparison;
use report::{Figures, parallel};
use scenario::Scenario;
use stacks::StackKind;

const USAGE: &str = "the simulator has --only NAME and --plots DIRECTORY, or --limits, or --check";

/// Seeds of the comparison of limits.
const SEEDS: [u64; 5] = [0, 1, 2, 3, 4];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => scenarios("", None),
        ["--only", name] => scenarios(name, None),
        ["--plots", directory] => scenarios("", Some(directory)),
        ["--only", name, "--plots", directory] | ["--plots", directory, "--only", name] => {
            scenarios(name, Some(directory))
        }
        ["--limits"] => compare_limits(),
        ["--check"] if check::check() => ExitCode::SUCCESS,
        ["--check"] => {
            eprintln!("a bound is not met");
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Runs the scenarios with this in their names.
fn scenarios(only: &str, plots: Option<&str>) -> ExitCode {
    for scenario in Scenario::all().iter().filter(|scenario| scenario.name.contains(only)) {
        println!("## {}\n\n{}\n", scenario.name, scenario.about);
        let figures = parallel(&StackKind::ALL, |stack| Figures::of(scenario, *stack, 0));
        println!("{}", report::table(scenario, &figures));
        let Some(directory) = plots else { continue };
        let path = Path::new(directory).join(format!("{}.svg", scenario.name));
        if let Err(error) = fs::write(&path, plot::svg(scenario, &figures)) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Compares the limits, with the client of one request per call and with that of rr.
fn compare_limits() -> ExitCode {
    println!("Answered part of the calls in percent, in the trouble and for 10 s after.");
    for client in [StackKind::Bare, StackKind::Rr] {
        let compare = |scenario: &Scenario| Comparison::of(scenario, client, &limits::ALL, &SEEDS);
        let compared: Vec<_> = Scenario::of_limits().iter().map(compare).collect();
        println!("\n## Clients: {}\n\n{}", client.name(), limits::table(&compared));
    }
    ExitCode::SUCCESS
}
