//! `cargo xtask book`: the pages of `docs/` as a site.

use crate::command::{Outcome, cargo, command, root, run, succeeds};

/// The version that is installed where there is no mdbook.
const MDBOOK: &str = "0.4.52";

/// Builds the book into `target/book`; installs mdbook into `target/mdbook` when there is none.
pub(crate) fn book() -> Outcome {
    let installed = root().join("target/mdbook");
    let own = installed.join("bin/mdbook");
    let program =
        if succeeds(&mut command("mdbook", ["--version"])) { "mdbook".into() } else { own };
    if !succeeds(&mut command(&program, ["--version"])) {
        let mut install = cargo(&["install", "--locked", "--quiet", "mdbook", "--version", MDBOOK]);
        run(install.arg("--root").arg(installed))?;
    }
    run(&mut command(&program, ["build", "docs", "--dest-dir", "../target/book"]))?;
    println!("target/book/index.html");
    Ok(())
}
