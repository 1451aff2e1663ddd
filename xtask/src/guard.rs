//! `cargo xtask guard`: what the build may contain, and what the sources may not.
//!
//! Rules that rustc or clippy can hold are lints in the manifests, with their limits in `clippy.toml`; licences, bans and
//! sources of dependencies are in `deny.toml`. The steps here are the rules that no tool holds, or not in all files: numbers of crates and
//! their names in one set of features, `biased` in each `select!`, and the text, length and index of files.

mod code;
mod dependencies;
mod sources;

pub(crate) use dependencies::{Selection, selections};

use crate::command::{Outcome, need};
use crate::steps::Steps;
use crate::workspace::packages;

/// Runs the command `guard`.
pub(crate) fn guard() -> Outcome {
    need("git", "git")?;
    let packages = packages()?;
    let files = sources::files()?;
    let mut steps = Steps::new("guard");
    steps.run("dependencies without transports", dependencies::without_transports);
    steps.run("dependencies with transports", dependencies::with_transports);
    steps.run("dependencies of the examples", dependencies::of_the_examples);
    steps.run("no test features in a normal build", || dependencies::no_test_features(&packages));
    steps.run("forbidden code", || sources::forbidden_code(&files));
    steps.run("every select! is biased", || sources::biased_select(&files));
    steps.run("plain sentences", || sources::plain_sentences(&files));
    steps.run("file lengths", || sources::lengths(&files));
    steps.run("lints are inherited", || sources::lints_inherited(&packages));
    steps.run("no machine paths, no registry hosts", || sources::places(&files));
    steps.run("index of the examples", || sources::examples_index(&packages));
    steps.finish()
}
