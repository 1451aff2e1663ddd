//! What `cargo xtask test` runs, with a nats-server and without.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::EXAMPLES;
use super::tier::Tier;
use crate::command::{Outcome, cargo};
use crate::nats_server;
use crate::nats_tests::{self, needs_server};
use crate::workspace::{Package, Target, find};

/// Whether there is a nats-server for what needs one.
pub(super) enum Server {
    /// Nothing in the workspace needs it.
    Unneeded,
    Found(PathBuf),
    /// There is none, by choice or because none could be fetched.
    Missing,
}

/// What is run, and what is not because there is no nats-server.
pub(super) struct Plan<'a> {
    packages: &'a [Package],
    server: Server,
    tier: Tier,
    pub(super) examples: Vec<&'a Target>,
    left_out: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(packages: &'a [Package], server: Server, tier: Tier) -> Outcome<Self> {
        let all = find(packages, EXAMPLES)?.targets_of("example");
        if !matches!(server, Server::Missing) {
            let (examples, left_out) = (all.collect(), Vec::new());
            return Ok(Self { packages, server, tier, examples, left_out });
        }
        let (without, examples): (Vec<_>, _) = all.partition(|target| needs_server(target));
        let mut left_out = Vec::new();
        if packages.iter().any(|package| package.name == nats_tests::PACKAGE) {
            left_out.push(format!("the tests of package {}", nats_tests::PACKAGE));
        }
        let others = packages.iter().filter(|package| package.name != nats_tests::PACKAGE);
        for package in others {
            let tests = package.targets_of("test").filter(|target| needs_server(target));
            left_out.extend(tests.map(|test| format!("test {} of {}", test.name, package.name)));
        }
        left_out.extend(without.iter().map(|example| format!("example {}", example.name)));
        Ok(Self { packages, server, tier, examples, left_out })
    }

    /// The tests of the tier: everything but what measures, benches and budgets.
    pub(super) fn tests(&self, nextest: bool) -> Command {
        let mut command = self.cargo(if nextest { &["nextest", "run"] } else { &["test"] });
        command.args(["--workspace", "--lib", "--bins", "--examples", "--no-fail-fast"]);
        if !matches!(self.server, Server::Missing) {
            command.args(["--tests", "--"]);
            self.tier.select(&mut command);
            return command;
        }
        command.args(self.exclusion());
        let kept = self.packages.iter().filter(|package| package.name != nats_tests::PACKAGE);
        for test in kept.flat_map(|package| package.targets_of("test")) {
            // Cargo refuses a test that is named without the features that it requires.
            if !needs_server(test) && test.required_features.is_empty() {
                command.args(["--test", &test.name]);
            }
        }
        command.args(["--", "--skip", nats_tests::MODULE]);
        self.tier.select(&mut command);
        command
    }

    /// The tests that need a nats-server, over another one.
    pub(super) fn tests_over(server: &Path, nextest: bool) -> Command {
        let mut command = cargo(if nextest { &["nextest", "run"] } else { &["test"] });
        command.args(["--package", nats_tests::PACKAGE, "--tests", "--no-fail-fast"]);
        command.env(nats_server::VARIABLE, server);
        command
    }

    pub(super) fn doc_tests(&self) -> Command {
        let mut command = self.cargo(&["test", "--workspace", "--doc"]);
        if matches!(self.server, Server::Missing) {
            command.args(self.exclusion());
        }
        command
    }

    pub(super) fn example(&self, example: &Target) -> Command {
        let mut command = self.cargo(&["run", "--quiet", "--package", EXAMPLES]);
        command.args(features(example)).args(["--example", &example.name]);
        command
    }

    /// A cargo command whose children find the server.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        if let Server::Found(path) = &self.server {
            command.env(nats_server::VARIABLE, path);
        }
        command
    }

    /// Cargo warns about the exclusion of a package that is not there.
    fn exclusion(&self) -> Vec<&'static str> {
        let there = self.packages.iter().any(|package| package.name == nats_tests::PACKAGE);
        if there { vec!["--exclude", nats_tests::PACKAGE] } else { Vec::new() }
    }

    pub(super) fn has_server(&self) -> bool {
        matches!(self.server, Server::Found(_))
    }

    pub(super) fn print_left_out(&self) {
        self.tier.print_left_out();
        if !self.left_out.is_empty() {
            println!("NOT run without a nats-server: {}", self.left_out.join(", "));
            println!("`{}` fetches one", nats_server::FETCH);
        }
    }
}

/// The features that an example needs, as cargo's arguments.
pub(crate) fn features(example: &Target) -> Vec<String> {
    if example.required_features.is_empty() {
        return Vec::new();
    }
    vec!["--features".to_owned(), example.required_features.join(",")]
}
