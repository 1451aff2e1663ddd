//! rr next to the alternatives to it, interleaved within one run; see `benches/README.md`.

mod cell;
mod child;
mod contenders;
mod gates;
mod held;
mod judge;
mod layers;
mod machine;
mod nats_go;
mod options;
mod overhead;
mod plan;
mod process;
mod report;
mod results;
mod rr;
mod run;
mod scale;

use std::process::ExitCode;

use rr_benches_peers::Result;
use rr_benches_peers::counting::Counting;
use tokio::runtime::{Builder, Runtime};

use options::Options;

/// Counts only in the cells that are about allocations.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match &arguments[..] {
        // What this program starts of itself.
        ["child", task] => child::run(task).map(|()| true),
        ["serve", peer, broker] => child::serve(peer, broker).map(|()| true),
        ["help" | "--help" | "-h"] => {
            println!("{}", options::USAGE);
            Ok(true)
        }
        ["scale"] => runtime().and_then(|runtime| runtime.block_on(scale::all())),
        options => match Options::parse(options) {
            Ok(options) => compare(&options),
            Err(complaint) => {
                eprintln!("compare: {complaint}\n\n{}", options::USAGE);
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Measures, prints, and tells whether every gate is met.
fn compare(options: &Options) -> Result<bool> {
    let results = runtime()?.block_on(run::all(options))?;
    report::tables(&results);
    let verdicts = judge::all(options, &results);
    report::ratios(&verdicts);
    report::budgets(&verdicts);
    report::summary(&verdicts, &results);
    if let Some(path) = &options.json {
        report::write(path, &results, &verdicts)?;
    }
    Ok(verdicts.iter().all(judge::Verdict::is_met))
}
