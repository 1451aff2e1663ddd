//! Overload in virtual time: calls that arrive whether or not earlier ones were answered, services
//! with queues, and several sets of layers around them.
//!
//! `cargo xtask bench simulate` prints a table for each scenario. `--only NAME` selects those with
//! NAME in their names, and `--plots DIRECTORY` draws a plot of each.

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

use report::Figures;
use scenario::Scenario;
use stacks::StackKind;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let (only, plots) = (value("--only").unwrap_or_default(), value("--plots"));
    let known = ["--only", "--plots"];
    if let Some(option) = arguments.iter().step_by(2).find(|one| !known.contains(&one.as_str())) {
        eprintln!(
            "{option} is no option of the simulator; it has --only NAME and --plots DIRECTORY"
        );
        return ExitCode::from(2);
    }
    for scenario in Scenario::all().iter().filter(|scenario| scenario.name.contains(only)) {
        println!("## {}\n\n{}\n", scenario.name, scenario.about);
        let figures: Vec<Figures> =
            StackKind::ALL.into_iter().map(|stack| Figures::of(scenario, stack)).collect();
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
