//! The workspace's own commands, run as `cargo xtask COMMAND`.
//!
//! | Command | Does | Needs |
//! |---|---|---|
//! | `test` | every test, doc test and example | a Rust toolchain, a nats-server |
//! | `bench --budgets` | budgets of allocations and leaks | a nats-server |
//! | `guard` | dependency counts and source rules | git |
//! | `features` | every combination of rr-core's features | a Rust toolchain |
//! | `interop` | foreign peers and the examples `ping_http` and `ping_nats` | curl, Python, Node, npm |
//! | `bench worlds` | speed and memory of explorations | a Rust toolchain |
//! | `bench simulate` | overload in virtual time | a Rust toolchain |
//! | `bench` | ours beside its peers, and the gates | a nats-server; Python and Debian for nats.go |
//! | `book` | the pages of `docs/` as a site | mdbook, which it installs |
//! | `compile-cost` | crates and seconds of each set of features | a Rust toolchain |
//! | `fetch nats` | a nats-server for `test` and `interop` | Python, or Debian |
//!
//! Each command prints the seconds of each of its steps and ends with a summary.

mod bench;
mod book;
mod command;
mod compile_cost;
mod debian;
mod features;
mod guard;
mod interop;
mod nats_server;
mod nats_tests;
mod steps;
mod stopwatch;
mod test;
mod without;
mod workspace;

use std::env;
use std::process::ExitCode;

use command::Outcome;
use test::Tier;
use without::Without;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--all | --added] [--without nats]
      run every test, doc test and example; fetches a nats-server when there is none
      --all adds the long rigs and a second nats-server, --added runs nothing else
  guard
      check the dependency trees and the source rules
  features
      check every combination of rr-core's features
  interop [FILTER].. [--without chromium] [--without go] [--without haproxy] [--without nats]
          [--without nginx] [--without tinyproxy]
      run the tests of interop/ that have a FILTER in their names, or all of them: foreign clients
      and servers against the examples orders, ping_http and ping_nats
      (installs them into target/interop; needs curl, python3, node and npm)
  bench --budgets
      count allocations and what calls leave behind, and judge both by their budgets
  bench worlds
      run many worlds of two applications, and judge seconds and memory
  bench [--quick] [--only PATTERN] [--json FILE] | scale
      run ours beside its peers and judge the gates (builds all of them; compare --help)
  bench simulate [--only NAME] [--plots DIRECTORY] | --limits | --check
      simulate overload in virtual time with several sets of layers, and print a table of each scenario
      --limits compares fixed limits with those that adapt, --check judges what the layers promise
  book
      build the site of docs/ into target/book (installs mdbook into target/mdbook when there is none)
  compile-cost
      build rr-core with each set of features, and print crates and seconds
  fetch nats
      put a nats-server into target/nats-server";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let run = match command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(run) => run,
        Err(complaint) => {
            eprintln!("{complaint}{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

type Run = Box<dyn FnOnce() -> Outcome>;

/// Returns what the arguments ask for, or what is wrong with them.
fn command(arguments: &[&str]) -> Outcome<Run> {
    let without = |options, parts| {
        Without::parse(options, parts).map_err(|complaint| format!("xtask: {complaint}\n\n"))
    };
    Ok(match arguments {
        ["test", options @ ..] => {
            let (tier, options) = Tier::parse(options);
            let without = without(options, &["nats"])?;
            Box::new(move || test::test(tier, &without))
        }
        ["guard"] => Box::new(guard::guard),
        ["features"] => Box::new(features::features),
        ["interop", options @ ..] => {
            let parts = ["chromium", "go", "haproxy", "nats", "nginx", "tinyproxy"];
            let filters = options.iter().take_while(|option| !option.starts_with('-'));
            let filters: Vec<String> = filters.map(ToString::to_string).collect();
            let without = without(&options[filters.len()..], &parts)?;
            Box::new(move || interop::interop(&without, &filters))
        }
        ["bench", "--budgets"] => Box::new(bench::budgets),
        ["bench", "worlds"] => Box::new(bench::worlds),
        ["bench", "simulate", options @ ..] => {
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            Box::new(move || bench::simulate(&options))
        }
        ["bench", options @ ..] => {
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            Box::new(move || bench::bench(&options))
        }
        ["book"] => Box::new(book::book),
        ["compile-cost"] => Box::new(compile_cost::compile_cost),
        ["fetch", "nats"] => Box::new(|| nats_server::fetch().map(drop)),
        ["help" | "--help" | "-h"] => Box::new(|| {
            println!("{USAGE}");
            Ok(())
        }),
        _ => return Err(String::new()),
    })
}
