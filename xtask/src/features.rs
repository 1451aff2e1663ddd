//! `cargo xtask features`: rr-core compiles with the combinations of its features.

use crate::command::{Outcome, cargo, shown};
use crate::steps::Steps;
use crate::workspace::{find, packages};

/// Features whose every combination is checked: they select code that refers to each other. Any other
/// feature is checked alone and together with all.
const COMBINED: [&str; 5] = ["http", "json", "memory", "nats", "tls"];

/// Runs the command `features`.
pub(crate) fn features() -> Outcome {
    let packages = packages()?;
    let names = find(&packages, "rr-core")?.public_features();
    if names.is_empty() {
        return Err("rr-core declares no features".to_owned());
    }
    let sets = combinations(&names);
    println!("{} combinations of {}", sets.len(), names.join(", "));
    let mut steps = Steps::new("features");
    for set in &sets {
        let name = if set.is_empty() { "no features".to_owned() } else { set.join(",") };
        steps.run(&name, || check(set));
    }
    steps.finish()
}

/// Compiles rr-core with these features; a warning is a failure.
fn check(features: &[&str]) -> Outcome {
    let features = features.join(",");
    let mut command = cargo(&["check", "--package", "rr-core"]);
    command.args(["--no-default-features", "--features", &features]);
    let output =
        command.output().map_err(|error| format!("cannot start `{}`: {error}", shown(&command)))?;
    let printed = String::from_utf8_lossy(&output.stderr);
    // Not `RUSTFLAGS=-Dwarnings`: it would compile every dependency again. Cargo repeats the
    // warnings of what it does not compile again, so a second run fails as well.
    let warned =
        printed.lines().any(|line| line.starts_with("warning: `") && line.contains(" generated "));
    if output.status.success() && !warned {
        return Ok(());
    }
    Err(format!("{}\n`{}`: {}", printed.trim_end(), shown(&command), output.status))
}

/// The combinations to check, fewest features first.
fn combinations<'a>(names: &[&'a str]) -> Vec<Vec<&'a str>> {
    let (combined, single): (Vec<_>, Vec<_>) =
        names.iter().copied().partition(|name| COMBINED.contains(name));
    let mut sets: Vec<Vec<&str>> = vec![Vec::new()];
    for name in combined {
        let with: Vec<_> = sets.iter().map(|set| [&set[..], &[name]].concat()).collect();
        sets.extend(with);
    }
    if !single.is_empty() {
        sets.extend(single.into_iter().map(|name| vec![name]));
        sets.push(names.to_vec());
    }
    sets.sort_by_key(Vec::len);
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_features_give_their_powerset() {
        let sets = combinations(&["http", "json", "memory"]);
        assert_eq!(sets.len(), 8);
        assert_eq!(sets[0], Vec::<&str>::new());
        assert_eq!(sets[7], ["http", "json", "memory"]);
        assert!(sets.contains(&vec!["http", "memory"]));
    }

    #[test]
    fn other_features_are_checked_alone_and_with_all() {
        let sets = combinations(&["cbor", "http", "json", "form"]);
        assert_eq!(sets.len(), 4 + 2 + 1);
        assert!(sets.contains(&vec!["cbor"]) && sets.contains(&vec!["form"]));
        assert_eq!(sets.last().map(Vec::len), Some(4));
    }
}
