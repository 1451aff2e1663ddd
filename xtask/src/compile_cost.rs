//! `cargo xtask compile-cost`: what each set of rr-core's features costs to build.

use std::fs;

use crate::command::{Outcome, cargo, output, root};
use crate::guard::{Selection, selections};
use crate::stopwatch::Stopwatch;

/// Where it is built, from nothing each time.
const FOLDER: &str = "target/compile-cost";

/// Runs the command `compile-cost`.
pub(crate) fn compile_cost() -> Outcome {
    println!("{:<34}{:>8}{:>8}{:>12}{:>12}", "", "crates", "at most", "debug s", "release s");
    // Without the default feature, which adds next to nothing.
    let bare = |selection: &Selection| selection.arguments.contains(&"--no-default-features");
    for selection in selections().into_iter().filter(bare) {
        let crates = selection.crates()?.len();
        let seconds = [build(&selection, false)?, build(&selection, true)?];
        let [debug, release] = seconds.map(|seconds| format!("{seconds:.1}"));
        let (name, most) = (selection.name(), selection.most);
        println!("{name:<34}{crates:>8}{most:>8}{debug:>12}{release:>12}");
    }
    Ok(())
}

/// Seconds of a build from nothing, everything downloaded before.
fn build(selection: &Selection, release: bool) -> Outcome<f64> {
    // It fails when there is none, which is as good.
    let _ = fs::remove_dir_all(root().join(FOLDER));
    let mut command = cargo(&["build", "--quiet", "--target-dir", FOLDER, "--package"]);
    command.args(selection.arguments).args(release.then_some("--release"));
    let watch = Stopwatch::start();
    output(&mut command)?;
    let seconds = watch.elapsed().as_secs_f64();
    let _ = fs::remove_dir_all(root().join(FOLDER));
    Ok(seconds)
}
