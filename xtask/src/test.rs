//! `cargo xtask test`: every test, every doc test, every example.

use std::time::Duration;

use crate::command::{Outcome, cargo, run, run_quietly, succeeds};
use crate::steps::Steps;
use crate::workspace::{Target, find, packages};

/// The package whose examples are run.
pub(crate) const EXAMPLES: &str = "rr-examples";

/// What the runner compiles as tests: all but the benches, which measure when they are run.
const TESTED: [&str; 5] = ["--workspace", "--lib", "--bins", "--tests", "--examples"];

/// How long one example may run: the slowest takes under two seconds, a busy machine longer.
const EXAMPLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the command `test`.
pub(crate) fn test() -> Outcome {
    let packages = packages()?;
    let examples: Vec<&Target> = find(&packages, EXAMPLES)?.targets_of("example").collect();
    let mut steps = Steps::new("test");
    let nextest = succeeds(&mut cargo(&["nextest", "--version"]));
    if !nextest {
        println!("cargo-nextest is not installed: using cargo test");
    }
    steps.run("tests", || {
        let runner: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
        run(cargo(runner).args(TESTED).arg("--no-fail-fast"))
    });
    steps.run("doc tests", || run(&mut cargo(&["test", "--workspace", "--doc"])));
    steps.run("the list of examples", || {
        if examples.is_empty() {
            return Err(format!("{EXAMPLES} declares no [[example]]"));
        }
        println!("{}", names(&examples).join(", "));
        Ok(())
    });
    steps.run("build of the examples", || build(&examples));
    for example in &examples {
        steps.run(&format!("example {}", example.name), || {
            let mut command = cargo(&["run", "--quiet", "--package", EXAMPLES]);
            command.args(features(example)).args(["--example", &example.name]);
            run_quietly(&mut command, EXAMPLE_TIMEOUT)
        });
    }
    steps.finish()
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

fn features(example: &Target) -> Vec<String> {
    if example.required_features.is_empty() {
        return Vec::new();
    }
    vec!["--features".to_owned(), example.required_features.join(",")]
}

fn names<'a>(examples: &[&'a Target]) -> Vec<&'a str> {
    examples.iter().map(|example| example.name.as_str()).collect()
}
