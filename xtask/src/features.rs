//! `cargo xtask features`: rr-core compiles with every combination of its features.

use crate::command::{Outcome, cargo, shown};
use crate::steps::Steps;
use crate::workspace::{find, packages};

/// Up to this many features the full powerset is checked (32 combinations); beyond it
/// none, each alone, each pair and all.
const POWERSET_FEATURES_MAX: usize = 5;

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
    let mut sets: Vec<Vec<&str>> = vec![Vec::new()];
    for name in names {
        let with: Vec<_> = sets
            .iter()
            .filter(|set| names.len() <= POWERSET_FEATURES_MAX || set.len() < 2)
            .map(|set| set.iter().chain([name]).copied().collect())
            .collect();
        sets.extend(with);
    }
    if names.len() > POWERSET_FEATURES_MAX {
        sets.push(names.to_vec());
    }
    sets.sort_by_key(Vec::len);
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_features_give_their_powerset() {
        let sets = combinations(&["http", "json", "memory"]);
        assert_eq!(sets.len(), 8);
        assert_eq!(sets[0], Vec::<&str>::new());
        assert_eq!(sets[7], ["http", "json", "memory"]);
        assert!(sets.contains(&vec!["http", "memory"]));
    }

    #[test]
    fn many_features_give_none_singles_pairs_and_all() {
        let sets = combinations(&["a", "b", "c", "d", "e", "f"]);
        assert_eq!(sets.len(), 1 + 6 + 15 + 1);
        assert_eq!(sets.last().map(Vec::len), Some(6));
    }
}
