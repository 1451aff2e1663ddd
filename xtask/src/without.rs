//! What a person leaves out by choice: `--without PART`, as often as there are parts.

use crate::command::Outcome;

/// The parts left out.
#[derive(Debug, Default)]
pub(crate) struct Without(Vec<String>);

impl Without {
    /// Reads a command's arguments; `parts` are those that it may do without.
    ///
    /// # Errors
    ///
    /// When there is any other argument.
    pub(crate) fn parse(arguments: &[&str], parts: &[&str]) -> Outcome<Self> {
        let mut left_out = Vec::new();
        for pair in arguments.chunks(2) {
            match pair {
                ["--without", part] if parts.contains(part) => left_out.push((*part).to_owned()),
                _ => {
                    let parts = parts.join("` or `--without ");
                    return Err(format!(
                        "unexpected `{}`, not `--without {parts}`",
                        pair.join(" ")
                    ));
                }
            }
        }
        Ok(Self(left_out))
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.0.iter().any(|left_out| left_out == part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parts_are_left_out() {
        let without = Without::parse(&["--without", "go"], &["go", "nats"]).unwrap();
        assert!(without.has("go") && !without.has("nats"));
        assert!(!Without::parse(&[], &["go"]).unwrap().has("go"));
    }

    #[test]
    fn anything_else_is_refused() {
        for arguments in [&["--without"][..], &["--without", "http"], &["go"]] {
            assert!(Without::parse(arguments, &["go", "nats"]).is_err(), "{arguments:?}");
        }
    }
}
