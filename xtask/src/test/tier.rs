//! The tiers of `cargo xtask test`: what every run does, and what `--all` adds.

use std::process::Command;

/// Names of the tests that only `--all` runs, or a part of their paths. Each is long, and repeats on another
/// rig what the first tier shows, tries the suite itself, or compiles programs.
const ADDED: [(&str, &str); 10] = [
    ("over_tls::", "the suite over TLS"),
    ("proxied::", "the suite through a proxy that cuts the link"),
    ("_axum::", "the suite over a service mounted in axum"),
    ("cluster::", "the suite over a NATS cluster"),
    ("secured::", "the suite over NATS with TLS and nkeys"),
    ("over_nats::", "the suite over the bridge between HTTP and NATS"),
    ("every_case_catches_a_saboteur", "the table of saboteurs"),
    ("amplification::", "the long property of retries"),
    ("trials::", "three hosts under load, some of which fail"),
    ("mistakes::", "the compiler's messages for mistakes"),
];

/// What `--all` adds besides, in words.
const SECOND_VERSION: &str = "the tests of NATS over the system's nats-server";

/// What one run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Every unit, doc test and example, and each rig once.
    First,
    /// What `--all` adds, and nothing else.
    Added,
    /// Both.
    All,
}

impl Tier {
    /// Reads the leading `--all` or `--added` of a command's arguments; returns the arguments that are left.
    pub(crate) fn parse<'a>(arguments: &'a [&'a str]) -> (Self, &'a [&'a str]) {
        match arguments {
            ["--all", rest @ ..] => (Self::All, rest),
            ["--added", rest @ ..] => (Self::Added, rest),
            _ => (Self::First, arguments),
        }
    }

    /// Whether doc tests and examples are run.
    pub(super) fn has_first(self) -> bool {
        self != Self::Added
    }

    /// Whether the tests run over a second version of the server.
    pub(super) fn has_added(self) -> bool {
        self != Self::First
    }

    /// Adds what selects the tests; cargo and nextest both take it behind `--`.
    pub(super) fn select(self, command: &mut Command) {
        for (name, _) in ADDED {
            match self {
                Self::First => command.args(["--skip", name]),
                Self::Added => command.arg(name),
                Self::All => break,
            };
        }
    }

    pub(super) fn print_left_out(self) {
        if self == Self::First {
            let added = ADDED.map(|(_, what)| what).join(", ");
            println!("NOT run: {added}, {SECOND_VERSION}");
            println!("`cargo xtask test --all` runs them too, `--added` nothing else");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_named_before_everything_else() {
        assert_eq!(Tier::parse(&[]), (Tier::First, &[][..]));
        assert_eq!(Tier::parse(&["--all"]), (Tier::All, &[][..]));
        let rest = ["--without", "nats"];
        assert_eq!(Tier::parse(&["--added", "--without", "nats"]), (Tier::Added, &rest[..]));
        assert_eq!(Tier::parse(&rest), (Tier::First, &rest[..]));
    }

    #[test]
    fn each_test_belongs_to_one_tier() {
        let arguments = |tier: Tier| {
            let mut command = Command::new("cargo");
            tier.select(&mut command);
            command.get_args().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let skipped: Vec<_> =
            arguments(Tier::First).into_iter().filter(|part| part != "--skip").collect();
        assert_eq!(skipped, arguments(Tier::Added));
        assert!(arguments(Tier::All).is_empty());
    }
}
