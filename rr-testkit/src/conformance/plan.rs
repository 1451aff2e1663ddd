//! The plan of a run: its cases and their expected results.

use super::Level;

/// Selection of the cases to run, with the expected failures.
///
/// A pattern is the name of a case, `group/*`, or `*`.
///
/// # Examples
///
/// ```
/// use rr_testkit::conformance::Plan;
///
/// let plan = Plan::v1()
///     .skip("drain/client_first", "the rig cannot outlive its client")
///     .known_failing("size/client_usable_after", "see issue 12");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Plan {
    only: Vec<String>,
    skips: Vec<(String, String)>,
    known_failing: Vec<(String, String)>,
    lenient: bool,
}

impl Plan {
    /// Returns a plan with every case of the first edition of the suite.
    #[must_use]
    pub fn v1() -> Self {
        Self::default()
    }

    /// Runs only the cases that match the pattern. With several calls, a case must match one of the
    /// patterns.
    #[must_use]
    pub fn only(mut self, pattern: impl Into<String>) -> Self {
        self.only.push(pattern.into());
        self
    }

    /// Skips the cases that match the pattern, for the given reason.
    #[must_use]
    pub fn skip(mut self, pattern: impl Into<String>, reason: impl Into<String>) -> Self {
        self.skips.push((pattern.into(), reason.into()));
        self
    }

    /// Expects the cases that match the pattern to fail, for the given reason. A listed case that
    /// passes is a failure, so that the list does not go stale.
    #[must_use]
    pub fn known_failing(mut self, pattern: impl Into<String>, reason: impl Into<String>) -> Self {
        self.known_failing.push((pattern.into(), reason.into()));
        self
    }

    /// Turns failures of [`Level::Should`](super::Level::Should) cases into warnings, without
    /// listing them. For a transport that is still being written.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Returns the lowest level whose failures fail the run.
    pub(super) fn binding(&self) -> Binding {
        if self.lenient { Binding::Must } else { Binding::Should }
    }

    /// Returns the edition of the suite.
    pub(super) fn edition(&self) -> &'static str {
        "v1"
    }

    /// Returns whether a case is part of the plan.
    pub(super) fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|pattern| matches(pattern, name))
    }

    /// Returns the reason for which a case is skipped.
    pub(super) fn skipped(&self, name: &str) -> Option<&str> {
        reason(&self.skips, name)
    }

    /// Returns the reason for which a case is expected to fail.
    pub(super) fn expected_failure(&self, name: &str) -> Option<&str> {
        reason(&self.known_failing, name)
    }

    /// Asserts that every pattern matches a case and every entry has a reason.
    pub(super) fn assert_sound(&self) {
        assert_eq!(self.stale(), None, "the plan names a case that does not exist");
        assert_eq!(self.unreasoned(), None, "the plan leaves out a case without a reason");
    }

    /// Returns the first pattern with a blank reason.
    fn unreasoned(&self) -> Option<&str> {
        let mut reasoned = self.skips.iter().chain(&self.known_failing);
        let bare = reasoned.find(|(_, reason)| reason.trim().is_empty());
        bare.map(|(pattern, _)| pattern.as_str())
    }

    /// Returns the first pattern that matches no case, such as a misspelt name.
    fn stale(&self) -> Option<&str> {
        let reasoned = self.skips.iter().chain(&self.known_failing).map(|(pattern, _)| pattern);
        let mut patterns = self.only.iter().chain(reasoned);
        let known = |pattern: &str| super::cases().iter().any(|c| matches(pattern, &c.name()));
        patterns.find(|pattern| !known(pattern)).map(String::as_str)
    }
}

/// The lowest level whose failures fail a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    Must,
    Should,
}

impl Binding {
    /// Returns whether a failure of a case of this level fails the run.
    pub(super) fn holds(self, level: Level) -> bool {
        match level {
            Level::Must => true,
            Level::Should => self == Self::Should,
            Level::Preview => false,
        }
    }
}

fn reason<'a>(list: &'a [(String, String)], name: &str) -> Option<&'a str> {
    list.iter().find(|(pattern, _)| matches(pattern, name)).map(|(_, reason)| reason.as_str())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_a_case_a_group_or_everything() {
        assert!(matches("size/one_byte", "size/one_byte"));
        assert!(!matches("size/one", "size/one_byte"));
        assert!(matches("size/*", "size/one_byte") && matches("*", "size/one_byte"));
        assert!(!matches("headers/*", "size/one_byte"));
    }

    #[test]
    fn a_case_that_should_hold_binds_unless_the_plan_is_lenient_and_a_new_one_never_does() {
        for (plan, should) in [(Plan::v1(), true), (Plan::v1().lenient(), false)] {
            let levels = [Level::Must, Level::Should, Level::Preview];
            assert_eq!(levels.map(|level| plan.binding().holds(level)), [true, should, false]);
        }
    }

    #[test]
    fn a_reason_that_says_nothing_is_found() {
        assert_eq!(Plan::v1().skip("size/*", "why").unreasoned(), None);
        assert_eq!(Plan::v1().skip("size/*", " ").unreasoned(), Some("size/*"));
        assert_eq!(Plan::v1().known_failing("drain/*", "").unreasoned(), Some("drain/*"));
    }

    #[test]
    fn a_pattern_that_names_nothing_is_found() {
        assert_eq!(Plan::v1().skip("size/one_byte", "why").stale(), None);
        assert_eq!(Plan::v1().skip("size/one_bite", "why").stale(), Some("size/one_bite"));
    }
}
