//! The workspace's own commands, run as `cargo xtask COMMAND`.
//!
//! | Command | Does | Needs |
//! |---|---|---|
//! | `test` | every test, doc test and example | a Rust toolchain |
//! | `guard` | dependency counts and source rules | git |
//! | `features` | every combination of rr-core's features | a Rust toolchain |
//! | `interop` | foreign clients against the `ping_http` example | curl, Python, Node, npm |
//!
//! Each command prints the seconds of each of its steps and ends with a summary.

mod command;
mod features;
mod guard;
mod interop;
mod steps;
mod test;
mod workspace;

use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test      run every test, doc test and example
  guard     check the dependency trees and the source rules
  features  check every combination of rr-core's features
  interop   run foreign clients against the ping_http example
            (installs them into target/interop; needs curl, python3, node and npm)";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let run = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test::test,
        ["guard"] => guard::guard,
        ["features"] => features::features,
        ["interop"] => interop::interop,
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
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
