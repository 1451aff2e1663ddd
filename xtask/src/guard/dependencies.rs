//! What `cargo tree` may say.

use std::collections::BTreeSet;

use crate::command::{Outcome, cargo, output};
use crate::test;
use crate::workspace::Package;

/// Crates that never come in without a transport; names that go on after a `-` or `_` count too.
const TRANSPORT_CRATES: [&str; 7] =
    ["async-nats", "http", "hyper", "opentelemetry", "rand", "regex", "url"];

/// Limits on the number of crates in a build, the package itself included.
const BARE_CRATES_MAX: usize = 27;
const HTTP_CRATES_MAX: usize = 59;
const NATS_CRATES_MAX: usize = 100;
const EXAMPLES_CRATES_MAX: usize = 135;

/// A package with some of its features, and how many crates it may take.
pub(crate) struct Selection {
    /// What cargo is told after `--package`.
    pub(crate) arguments: &'static [&'static str],
    pub(crate) most: usize,
    names_transports: bool,
}

impl Selection {
    pub(crate) fn name(&self) -> String {
        self.arguments
            .join(" ")
            .replace("--no-default-features", "bare")
            .replace("--features ", "+ ")
    }

    /// Its crates, itself included.
    pub(crate) fn crates(&self) -> Outcome<BTreeSet<String>> {
        crates("normal", self.arguments)
    }
}

/// What applications build: rr-core and its features, and the contract of transports.
pub(crate) fn selections() -> Vec<Selection> {
    let bare: [&'static [&'static str]; 4] = [
        &["rr-spi"],
        &["rr-core", "--no-default-features"],
        &["rr-core"],
        // `#[service]` adds rr-macros, whose dependencies async-trait and serde have too.
        &["rr-core", "--features", "macros"],
    ];
    let http: [&'static [&'static str]; 2] = [
        &["rr-core", "--no-default-features", "--features", "http"],
        &["rr-core", "--features", "http"],
    ];
    let nats: [&'static [&'static str]; 2] = [
        &["rr-core", "--no-default-features", "--features", "nats"],
        &["rr-core", "--features", "nats"],
    ];
    let of = |arguments, most, names_transports| Selection { arguments, most, names_transports };
    let bare = bare.into_iter().map(|arguments| of(arguments, BARE_CRATES_MAX, false));
    let http = http.into_iter().map(|arguments| of(arguments, HTTP_CRATES_MAX, true));
    let nats = nats.into_iter().map(|arguments| of(arguments, NATS_CRATES_MAX, true));
    bare.chain(http).chain(nats).collect()
}

/// rr-spi, and rr-core without transport features, are small and name no transport.
pub(super) fn without_transports() -> Outcome {
    let mut complaints = Vec::new();
    for selection in selections().iter().filter(|selection| !selection.names_transports) {
        let crates = selection.crates()?;
        complaints.extend(over(selection.arguments, &crates, selection.most));
        for name in crates.iter().filter(|name| is_transport_crate(name)) {
            complaints.push(format!("`{}` depends on {name}", selection.arguments.join(" ")));
        }
    }
    all_good(&complaints)
}

/// rr-core with a transport stays within the budget of that transport.
pub(super) fn with_transports() -> Outcome {
    let mut complaints = Vec::new();
    for selection in selections().iter().filter(|selection| selection.names_transports) {
        complaints.extend(over(selection.arguments, &selection.crates()?, selection.most));
    }
    all_good(&complaints)
}

/// The quickstart compiles in a short time on a fresh machine, build scripts included.
pub(super) fn of_the_examples() -> Outcome {
    let selection = [test::EXAMPLES];
    let crates = crates("normal,build", &selection)?;
    all_good(&Vec::from_iter(over(&selection, &crates, EXAMPLES_CRATES_MAX)))
}

/// Features that are for tests alone: tokio's paused clock, and the test kit's worlds and mocks.
const TEST_FEATURES: [&str; 3] =
    ["tokio feature \"test-util\"", "rr-testkit feature \"worlds\"", "rr-testkit feature \"mock\""];

/// No feature of a published package pulls in what is for tests, but for those of the test kit
/// that are made for it.
pub(super) fn no_test_features(packages: &[Package]) -> Outcome {
    let mut complaints = Vec::new();
    for package in packages.iter().filter(|package| package.published || is_example(package)) {
        let mut arguments = vec!["tree", "--edges", "normal,features", "--package", &package.name];
        // The test kit's features `conformance` and `worlds` are what virtual time is for.
        if package.name != "rr-testkit" {
            arguments.push("--all-features");
        }
        let tree = output(&mut cargo(&arguments))?;
        let found = test_features(&tree);
        println!("{}: {} for tests", arguments[4..].join(" "), found.len());
        complaints.extend(
            found.iter().map(|feature| format!("`cargo {}` has {feature}", arguments.join(" "))),
        );
    }
    all_good(&complaints)
}

/// Returns which of the features for tests a tree has.
fn test_features(tree: &str) -> Vec<&'static str> {
    TEST_FEATURES.into_iter().filter(|feature| tree.contains(feature)).collect()
}

fn is_example(package: &Package) -> bool {
    package.name == test::EXAMPLES
}

/// Prints a count and complains when it is over its limit.
fn over(selection: &[&str], crates: &BTreeSet<String>, limit: usize) -> Option<String> {
    let (selection, count) = (selection.join(" "), crates.len());
    println!("{selection}: {count} crates, at most {limit}");
    (count > limit).then(|| {
        let names = crates.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("`{selection}` has {count} crates, more than {limit}: {names}")
    })
}

/// Lists the crates of a build as `name vVERSION`.
fn crates(edges: &str, selection: &[&str]) -> Outcome<BTreeSet<String>> {
    let mut command = cargo(&["tree", "--edges", edges, "--prefix", "none", "--package"]);
    Ok(parse(&output(command.args(selection))?))
}

/// Reads `cargo tree --prefix none`: the first two words of a line are a name and a version.
fn parse(tree: &str) -> BTreeSet<String> {
    let lines = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    lines.filter(|line| line.contains(" v")).collect()
}

fn is_transport_crate(line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    TRANSPORT_CRATES.iter().any(|forbidden| {
        name.strip_prefix(forbidden)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    })
}

fn all_good(complaints: &[String]) -> Outcome {
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_of_a_tree_count_once() {
        let tree = "rr-spi v0.1.0 (here)\nbytes v1.12.0\nbytes v1.12.0 (*)\nsyn v2.0.0 (proc-macro)\nsyn v3.0.0\n";
        assert_eq!(parse(tree).len(), 4);
    }

    #[test]
    fn features_for_tests_are_found_in_a_tree() {
        let tree =
            "rr-core v0.1.0\n└── rr-testkit feature \"worlds\"\n    └── tokio feature \"time\"\n";
        assert_eq!(test_features(tree), ["rr-testkit feature \"worlds\""]);
        assert!(test_features("rr-testkit feature \"default\"").is_empty());
    }

    #[test]
    fn transport_crates_are_recognised_by_their_first_word() {
        for name in ["http v1.5.0", "hyper-util v0.1.0", "rand_core v0.9.0", "async-nats v0.42.0"] {
            assert!(is_transport_crate(name), "{name}");
        }
        for name in ["httpdate v1.0.0", "bytes v1.0.0", "rr-http v0.1.0"] {
            assert!(!is_transport_crate(name), "{name}");
        }
    }
}
