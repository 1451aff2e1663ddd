//! Conformance cards: the claims of a transport in its README, checked by a test.

use std::fmt;
use std::fs;
use std::path::Path;

use super::runner::left_out;
use super::{Harness, Outcome, Plan, Report};

/// The environment variable that makes [`check_cards`] write instead of compare.
const UPDATE: &str = "RR_UPDATE_CARDS";

/// Conformance claims of a transport: the cases that pass, and with their reasons the cases that
/// are skipped or known to fail. The `Display` form is that of [`Report::to_markdown`].
///
/// A card is made from a harness and a plan, without a run. The tests that [`conformance!`] expands
/// to, one per case, prove the claims.
///
/// [`conformance!`]: crate::conformance!
#[derive(Clone, Debug)]
pub struct Card(Report);

impl Card {
    /// Makes the card of a transport from the plan that its tests use.
    ///
    /// # Panics
    ///
    /// When the plan names a case that does not exist, or lists a case without a reason.
    #[must_use]
    pub fn of(harness: &dyn Harness, plan: &Plan) -> Self {
        Self(Report::new(harness, plan, |case| {
            let expected = || match plan.expected_failure(&case.name()) {
                Some(reason) => Outcome::FailedAsKnown(reason.to_owned()),
                None => Outcome::Passed,
            };
            left_out(harness, plan, case).unwrap_or_else(expected)
        }))
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_markdown())
    }
}

/// Checks, as a test, that the cards in a README are exactly `cards` and up to date.
///
/// A card is placed between two lines that name its transport. If the environment variable
/// `RR_UPDATE_CARDS` is `1`, this function replaces the text between them:
///
/// ```text
/// <!-- conformance:begin memory -->
/// <!-- conformance:end memory -->
/// ```
///
/// Check all cards of one file in one call: two tests that write the same file would interfere.
///
/// # Panics
///
/// When a card is stale, has no marker lines, or is in the file but not among `cards`; when the
/// file cannot be read, or cannot be written in an update.
///
/// # Examples
///
/// ```no_run
/// use rr_testkit::conformance::{Card, Harness, Plan, check_cards};
///
/// fn the_readme_shows_what_the_tests_prove(harness: &dyn Harness) {
///     let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
///     check_cards(readme, &[Card::of(harness, &Plan::v1())]);
/// }
/// ```
pub fn check_cards(readme: impl AsRef<Path>, cards: &[Card]) {
    let path = readme.as_ref();
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        // Some checkouts on Windows convert line endings.
        Ok(text) => text.replace("\r\n", "\n"),
        Err(error) => panic!("{shown} cannot be read: {error}"),
    };
    let wanted = match renewed(&text, cards) {
        Ok(wanted) => wanted,
        Err(complaint) => panic!("{shown}: {complaint}"),
    };
    if wanted == text {
        return;
    }
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        if let Err(error) = fs::write(path, wanted) {
            panic!("{shown} cannot be written: {error}");
        }
        return;
    }
    let mut lines = text.lines().zip(wanted.lines());
    let (old, new) = lines.find(|(old, new)| old != new).unwrap_or_default();
    panic!(
        "{shown} has a stale card: run this test with {UPDATE}=1\n  is:     {old}\n  is now: {new}"
    );
}

/// Returns the text with every card replaced by its current form.
fn renewed(text: &str, cards: &[Card]) -> Result<String, String> {
    let mut missing: Vec<&Card> = cards.iter().collect();
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(name) = marked(line, "begin") else { continue };
        let at = missing.iter().position(|card| card.0.transport == name);
        let at = at.ok_or_else(|| {
            format!("the card of `{name}` stands there twice, or is not checked by the test")
        })?;
        let end = lines.find(|line| marked(line, "end") == Some(name));
        let end = end.ok_or_else(|| format!("the card of `{name}` has no end"))?;
        out.push_str(&missing.swap_remove(at).to_string());
        out.push_str(end);
        out.push('\n');
    }
    match missing.first() {
        None => Ok(out),
        Some(Card(Report { transport, .. })) => Err(format!(
            "there is no place for the card of `{transport}`: add the lines\n\
             <!-- conformance:begin {transport} -->\n<!-- conformance:end {transport} -->"
        )),
    }
}

/// Returns the transport named by a marker line.
fn marked<'a>(line: &'a str, which: &str) -> Option<&'a str> {
    let inner = line.trim().strip_prefix("<!-- conformance:")?.strip_suffix("-->")?;
    inner.strip_prefix(which)?.strip_prefix(' ').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Capabilities;

    fn card(transport: &str) -> Card {
        let (transport, capabilities) = (transport.to_owned(), Capabilities::default());
        let binding = Plan::v1().binding();
        Card(Report { transport, edition: "v1", capabilities, rows: Vec::new(), binding })
    }

    const EMPTY: &str =
        "# a\n<!-- conformance:begin x (h1) -->\n<!-- conformance:end x (h1) -->\nb\n";

    #[test]
    fn a_card_is_written_between_its_markers_and_then_stays() {
        let cards = [card("x (h1)")];
        let written = renewed(EMPTY, &cards).unwrap();
        assert!(written.starts_with("# a\n<!-- conformance:begin x (h1) -->\nEdition v1"));
        assert!(written.ends_with("<!-- conformance:end x (h1) -->\nb\n"));
        assert_eq!(renewed(&written, &cards).unwrap(), written);
    }

    #[test]
    fn a_card_without_a_place_a_place_without_a_card_and_one_without_an_end_are_told() {
        let x = || card("x (h1)");
        assert!(renewed(EMPTY, &[x(), card("y")]).unwrap_err().contains("conformance:begin y"));
        assert!(renewed(EMPTY, &[]).unwrap_err().contains("not checked"));
        assert!(renewed(&EMPTY.repeat(2), &[x()]).unwrap_err().contains("twice"));
        assert!(renewed(&EMPTY.replace(":end", ":ende"), &[x()]).unwrap_err().contains("no end"));
    }
}
