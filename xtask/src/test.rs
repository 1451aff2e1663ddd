//! `cargo xtask test`: every test, every doc test, every example, in two tiers.
//!
//! Nothing in them measures: time is virtual or bounded generously, and budgets of allocations and memory
//! are a step of their own, `cargo xtask bench --budgets`.

mod plan;
mod tier;

use std::time::Duration;

use crate::command::{Outcome, cargo, run, run_quietly, succeeds};
use crate::steps::Steps;
use crate::without::Without;
use crate::workspace::{Package, Target, packages};
use crate::{nats_server, nats_tests};
use plan::{Plan, Server};

pub(crate) use plan::features;
pub(crate) use tier::Tier;

/// The package whose examples are run.
pub(crate) const EXAMPLES: &str = "rr-examples";

/// How long one example may run: the slowest runs the conformance suite on the real clock and takes
/// under twenty seconds, a busy machine longer.
const EXAMPLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs the command `test`.
pub(crate) fn test(tier: Tier, without: &Without) -> Outcome {
    let packages = packages()?;
    let mut steps = Steps::new("test");
    let server = server(&packages, without, &mut steps);
    let plan = Plan::new(&packages, server, tier)?;
    let nextest = succeeds(&mut cargo(&["nextest", "--version"]));
    if !nextest {
        println!("cargo-nextest is not installed: using cargo test");
    }
    steps.run("tests", || run(&mut plan.tests(nextest)));
    if tier.has_added() && plan.has_server() {
        steps.run("NATS tests over the system's nats-server", || over_the_system(nextest));
    }
    if tier.has_first() {
        documented(&plan, &mut steps);
    }
    plan.print_left_out();
    steps.finish()
}

/// Runs what documentation promises: doc tests and examples.
fn documented(plan: &Plan<'_>, steps: &mut Steps) {
    steps.run("doc tests", || run(&mut plan.doc_tests()));
    steps.run("the list of examples", || {
        if plan.examples.is_empty() {
            return Err(format!("{EXAMPLES} declares no [[example]]"));
        }
        println!("{}", names(&plan.examples).join(", "));
        Ok(())
    });
    steps.run("build of the examples", || build(&plan.examples));
    for example in &plan.examples {
        steps.run(&format!("example {}", example.name), || {
            run_quietly(&mut plan.example(example), EXAMPLE_TIMEOUT)
        });
    }
}

fn server(packages: &[Package], without: &Without, steps: &mut Steps) -> Server {
    if !nats_tests::any(packages) {
        return Server::Unneeded;
    }
    if without.has("nats") {
        return Server::Missing;
    }
    let mut found = Server::Missing;
    steps.run("nats-server", || {
        found = Server::Found(nats_server::find_or_fetch()?);
        Ok(())
    });
    found
}

/// The server that the system's packages carry is years older than the pinned one.
fn over_the_system(nextest: bool) -> Outcome {
    match nats_server::of_the_system()? {
        Some(server) => run(&mut Plan::tests_over(&server, nextest)),
        None => {
            println!("NOT run: this system has no Debian packages");
            Ok(())
        }
    }
}

/// Builds all examples beforehand, so that their time limit holds for running alone.
fn build(examples: &[&Target]) -> Outcome {
    let light = examples.iter().filter(|example| example.required_features.is_empty());
    let mut command = cargo(&["build", "--quiet", "--package", EXAMPLES]);
    for example in light {
        command.args(["--example", &example.name]);
    }
    run(&mut command)?;
    for example in examples.iter().filter(|example| !example.required_features.is_empty()) {
        let mut command = cargo(&["build", "--quiet", "--package", EXAMPLES]);
        run(command.args(features(example)).args(["--example", &example.name]))?;
    }
    Ok(())
}

fn names<'a>(examples: &[&'a Target]) -> Vec<&'a str> {
    examples.iter().map(|example| example.name.as_str()).collect()
}
