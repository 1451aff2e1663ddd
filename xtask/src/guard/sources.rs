//! Rules on the text of the files, as far as no lint holds them.

use std::fs;

use super::code::code;
use crate::command::{Outcome, command, output, root};
use crate::test;
use crate::workspace::{Package, find};

/// No file of code is longer.
const LINES_MAX: usize = 500;

/// What is held to `LINES_MAX`.
const CODE_SUFFIXES: [&str; 7] = [".rs", ".py", ".go", ".mjs", ".js", ".sh", ".ci/run"];

/// Code that is never committed. Lints hold most of it too, but not in what clippy does not compile: features that are
/// off, and the fuzz targets.
const FORBIDDEN: [&str; 4] = ["todo!", "unimplemented!", "#[ignore", "thread::sleep"];

/// Folders that exist on one machine only; they count where a path starts.
const MACHINE_FOLDERS: [&str; 4] = ["home", "root", "work", "Users"];

/// Hosts of package registries, in two parts so that this file passes its own rule.
const REGISTRY_HOSTS: [(&str, &str); 7] = [
    ("npmjs", ".org"),
    ("npmjs", ".com"),
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("crates", ".io"),
    ("proxy.golang", ".org"),
    ("deb.debian", ".org"),
];

/// Phrases that hide a component or its action; CONTRIBUTING names what to write instead.
const RIDDLES: [&str; 9] = [
    "whoever", "somebody", "nobody", "of ours", "says of", "goes on", "at once", "beside",
    "lets go",
];

/// A text file of the repository.
pub(super) struct File {
    path: String,
    text: String,
}

/// Reads every text file that is committed or could be.
pub(super) fn files() -> Outcome<Vec<File>> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let listing = output(&mut command("git", arguments))?;
    let root = root();
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // What was deleted and not yet committed, and what is no text, has nothing to check.
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    if files.is_empty() {
        return Err("git lists no files".to_owned());
    }
    Ok(files)
}

/// Finds code that is never committed.
pub(super) fn forbidden_code(files: &[File]) -> Outcome {
    let mut complaints = Vec::new();
    for (file, code) in rust(files) {
        for (number, line) in code.lines().enumerate() {
            for forbidden in FORBIDDEN.iter().filter(|forbidden| has_word(line, forbidden)) {
                complaints.push(format!("{}:{}: {forbidden}", file.path, number + 1));
            }
        }
    }
    verdict(rust(files).count(), "Rust files", &complaints)
}

/// Finds phrases in the comments of published packages that a reader has to guess at.
pub(super) fn plain_sentences(files: &[File]) -> Outcome {
    let mut complaints = Vec::new();
    let published = |file: &&File| file.path.starts_with("rr-") && file.path.contains("/src/");
    for file in files.iter().filter(published) {
        for (number, line) in file.text.lines().enumerate() {
            let Some((_, comment)) = line.split_once("//") else { continue };
            let comment = comment.to_lowercase();
            for riddle in RIDDLES.iter().filter(|riddle| has_phrase(&comment, riddle)) {
                complaints.push(format!("{}:{}: \"{riddle}\"", file.path, number + 1));
            }
        }
    }
    verdict(files.iter().filter(published).count(), "files", &complaints)
}

/// Finds a `select!` that polls its branches in random order.
pub(super) fn biased_select(files: &[File]) -> Outcome {
    let mut complaints = Vec::new();
    let mut count = 0;
    for (file, code) in rust(files) {
        for (at, _) in code.match_indices("select!") {
            count += 1;
            let body = code[at..].trim_start_matches("select!").trim_start();
            let first = body.trim_start_matches(['{', '(', '[']).trim_start();
            if !first.starts_with("biased;") {
                let line = code[..at].matches('\n').count() + 1;
                complaints.push(format!("{}:{line}: select! without `biased;`", file.path));
            }
        }
    }
    verdict(count, "select!", &complaints)
}

/// Finds files that are too long to be about one thing.
pub(super) fn lengths(files: &[File]) -> Outcome {
    let mut complaints = Vec::new();
    let mut count = 0;
    for file in files {
        if !CODE_SUFFIXES.iter().any(|suffix| file.path.ends_with(suffix)) {
            continue;
        }
        count += 1;
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.path));
        }
    }
    verdict(count, "files of code", &complaints)
}

/// Checks that published packages inherit the workspace's lints, which forbid unsafe code.
pub(super) fn lints_inherited(packages: &[Package]) -> Outcome {
    let mut complaints = Vec::new();
    let published = || packages.iter().filter(|package| package.published);
    for Package { name, manifest, .. } in published() {
        let text = fs::read_to_string(manifest)
            .map_err(|error| format!("cannot read the manifest of {name}: {error}"))?;
        if !text.contains("[lints]\nworkspace = true\n") {
            complaints.push(format!("{name} does not inherit the workspace's lints"));
        }
    }
    verdict(published().count(), "published packages", &complaints)
}

/// Finds paths of one machine and hosts of registries.
pub(super) fn places(files: &[File]) -> Outcome {
    let mut complaints = Vec::new();
    // The rule's own list is the only place where the paths are written out.
    for file in files.iter().filter(|file| !file.path.ends_with("guard/sources.rs")) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(place) = place(line, file.path.ends_with("Cargo.lock")) {
                complaints.push(format!("{}:{}: {place}", file.path, number + 1));
            }
        }
    }
    verdict(files.len(), "files", &complaints)
}

/// Checks that the README of the examples names each of them.
pub(super) fn examples_index(packages: &[Package]) -> Outcome {
    let readme = root().join("examples/README.md");
    let text = fs::read_to_string(readme)
        .map_err(|error| format!("cannot read examples/README.md: {error}"))?;
    let names = find(packages, test::EXAMPLES)?.targets_of("example");
    let names: Vec<&str> = names.map(|target| target.name.as_str()).collect();
    let missing = names.iter().filter(|name| !has_word(&text, name));
    let complaints: Vec<_> =
        missing.map(|name| format!("examples/README.md does not name {name}")).collect();
    verdict(names.len(), "examples", &complaints)
}

/// Every Rust file with its code.
fn rust(files: &[File]) -> impl Iterator<Item = (&File, String)> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    rust.map(|file| (file, code(&file.text)))
}

/// Returns the first forbidden place named in a line.
fn place(line: &str, is_lock_file: bool) -> Option<String> {
    let path = MACHINE_FOLDERS.map(|folder| format!("/{folder}/")).into_iter().find(|path| {
        let starts = line.match_indices(path.as_str()).map(|(at, _)| &line[..at]);
        starts.into_iter().any(|before| !before.ends_with(is_path_character))
    });
    let host = REGISTRY_HOSTS.iter().map(|(name, end)| format!("{name}{end}"));
    // Cargo names its index there by itself.
    let mut host = host.filter(|host| !(is_lock_file && host.starts_with("crates.")));
    path.or_else(|| host.find(|host| line.contains(host)))
}

fn is_path_character(character: char) -> bool {
    character.is_alphanumeric() || "_-.}".contains(character)
}

/// Whether `text` contains `word`, not as the end of a longer name.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// As [`has_word`], and nothing is attached to its end either.
fn has_phrase(text: &str, phrase: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    text.split(phrase).skip(1).any(ends) && has_word(text, phrase)
}

fn verdict(count: usize, what: &str, complaints: &[String]) -> Outcome {
    if complaints.is_empty() {
        println!("{count} {what}");
        return Ok(());
    }
    Err(complaints.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<File> {
        vec![File { path: "a.rs".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn forbidden_code_is_found_outside_comments_and_literals() {
        for text in
            ["todo!()", "#[ignore]", "#[ignore = \"x\"]\nfn f() {}", "std::thread::sleep(x)"]
        {
            assert!(forbidden_code(&file(text)).is_err(), "{text}");
        }
        for text in ["// todo!()", "\"todo!\"", "my_todo!()", "\"#[ignore]\""] {
            assert!(forbidden_code(&file(text)).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_select_must_start_with_biased() {
        assert!(biased_select(&file("select! { biased; a = b => {} }")).is_ok());
        assert!(biased_select(&file("tokio::select! {\n // why\n biased;\n }")).is_ok());
        let error = biased_select(&file("biased;\nselect! { a = b => {} }")).unwrap_err();
        assert!(error.starts_with("a.rs:2:"), "{error}");
    }

    #[test]
    fn phrases_are_found_in_comments_of_published_sources_only() {
        let file = |path: &str, text: &str| [File { path: path.to_owned(), text: text.to_owned() }];
        for riddle in ["/// Whoever waits.", "x(); // it goes on", "//! Beside it."] {
            assert!(plain_sentences(&file("rr-core/src/a.rs", riddle)).is_err(), "{riddle}");
            assert!(plain_sentences(&file("rr-core/tests/a.rs", riddle)).is_ok(), "{riddle}");
        }
        for plain in ["/// Besides, it waits.", "let beside = 1;"] {
            assert!(plain_sentences(&file("rr-core/src/a.rs", plain)).is_ok(), "{plain}");
        }
    }

    #[test]
    fn long_files_are_found() {
        assert!(lengths(&file(&"\n".repeat(LINES_MAX))).is_ok());
        assert!(lengths(&file(&"\n".repeat(LINES_MAX + 1))).is_err());
    }

    #[test]
    fn machine_paths_and_registry_hosts_are_found() {
        let host = format!("see {}{}", REGISTRY_HOSTS[2].0, REGISTRY_HOSTS[2].1);
        let folders = MACHINE_FOLDERS.map(|folder| format!("\"/{folder}/x\""));
        for line in folders.iter().chain([&host]) {
            assert!(place(line, false).is_some(), "{line}");
        }
        for line in ["a/home/b", "frame/home/x", "http://localhost/ping"] {
            assert!(place(line, false).is_none(), "{line}");
        }
        let index = format!("{}{}-index", REGISTRY_HOSTS[4].0, REGISTRY_HOSTS[4].1);
        assert!(place(&index, true).is_none());
        assert!(place(&index, false).is_some());
    }
}
