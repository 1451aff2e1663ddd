//! Texts for the test: what came, what differs, what is wrong.

use std::fmt::Write as _;
use std::panic::Location;
use std::sync::Arc;

use rr_spi::{Request, Target, excerpt};

use super::expectation::Rule;
use super::state::Shared;
use super::times::requests;

/// Characters of a body that a text quotes.
const BODY_CHARS_MAX: usize = 120;

/// Lines of a list; the rest is counted.
const LINES_MAX: usize = 20;

/// Shows a request in a line.
pub(super) fn shown(request: &Request) -> String {
    let body = match std::str::from_utf8(&request.body) {
        Ok("") => "no body".to_owned(),
        Ok(text) => {
            let cut = if text.chars().nth(BODY_CHARS_MAX).is_some() { ".." } else { "" };
            // Quotes stay as they are, so that JSON can be read.
            format!("{}{cut}", excerpt(text, BODY_CHARS_MAX).replace("\\\"", "\""))
        }
        Err(_) => format!("{} bytes that are not UTF-8", request.body.len()),
    };
    format!("`{}` with {body}", request.target)
}

/// Describes the expectation that is nearest to a request which matches none.
///
/// `differing` has the expectations of the method, each with its differences.
pub(super) fn nearest(
    rules: &[Arc<Rule>],
    differing: Vec<(&Arc<Rule>, Vec<String>)>,
    request: &Request,
) -> String {
    let nearest = differing.into_iter().min_by_key(|(_, differences)| differences.len());
    if let Some((rule, differences)) = nearest {
        return format!(
            "no expectation matches; the nearest is {rule}: {}",
            differences.join("; ")
        );
    }
    let distance = |rule: &&Arc<Rule>| edits(rule.target().method(), request.target.method());
    match rules.iter().min_by_key(distance) {
        Some(rule) => format!("no expectation of this method; the nearest is {rule}"),
        None => "the mock has no expectation".to_owned(),
    }
}

/// Counts the letters to insert, remove or replace to turn one name into another.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.bytes().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, other) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// Lists what is wrong with a mock; `None` if nothing is.
pub(super) fn wrong(shared: &Shared) -> Option<String> {
    let mut problems: Vec<_> = shared.rules().iter().filter_map(|rule| rule.unmet()).collect();
    problems.extend(shared.problems());
    let waiting = shared.waiting();
    let never_taken = |request| format!("{}: the test never took this request", shown(request));
    problems.extend(waiting.iter().map(never_taken));
    if problems.is_empty() {
        return None;
    }
    let count = problems.len();
    let problem = if count == 1 { "1 problem" } else { &format!("{count} problems") };
    let mut text = format!("mock `{}` has {problem}", shared.service());
    list(&mut text, &problems);
    list_received(&mut text, shared);
    Some(text)
}

/// Says that a test waited for a request that did not come.
pub(super) fn nothing_came(shared: &Shared, target: Option<&Target>, at: &Location<'_>) -> String {
    let what = target.map_or_else(|| "no request".to_owned(), |to| format!("no request to `{to}`"));
    let (service, patience) = (shared.service(), shared.patience());
    let mut text = format!("{what} came to the mock `{service}` within {patience:?} at {at}");
    let waiting: Vec<_> = shared.waiting().iter().map(shown).collect();
    if !waiting.is_empty() {
        let _ = write!(text, "\n{} waiting for the test:", requests(waiting.len()));
        list(&mut text, &waiting);
    }
    list_received(&mut text, shared);
    text
}

fn list_received(text: &mut String, shared: &Shared) {
    let received: Vec<_> = shared.received().iter().map(shown).collect();
    if received.is_empty() {
        text.push_str("\nit received no request");
        return;
    }
    let _ = write!(text, "\nit received {}:", requests(received.len()));
    list(text, &received);
}

fn list(text: &mut String, lines: &[String]) {
    for line in lines.iter().take(LINES_MAX) {
        let _ = write!(text, "\n  {line}");
    }
    if let Some(more) = lines.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        let _ = write!(text, "\n  and {more} more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_far_apart_as_their_edits() {
        for (from, to, distance) in [
            ("charge", "charge", 0),
            ("charge", "chrge", 1),
            ("charge", "change", 1),
            ("charge", "charges", 1),
            ("", "abc", 3),
            ("refund", "charge", 6),
        ] {
            assert_eq!(edits(from, to), distance, "{from} {to}");
            assert_eq!(edits(to, from), distance, "{to} {from}");
        }
    }

    #[test]
    fn requests_are_shown_in_a_line_whatever_their_body() {
        let show = |body: &[u8]| {
            let target = Target::parse("a.b").unwrap();
            shown(&Request::new(target, body.to_vec()))
        };
        assert_eq!(show(b""), "`a.b` with no body");
        assert_eq!(show("{\"n\": \"\u{fc}\"}\n".as_bytes()), "`a.b` with {\"n\": \"\u{fc}\"}\\n");
        assert_eq!(show(&[0xff, 0xfe]), "`a.b` with 2 bytes that are not UTF-8");
        assert_eq!(show("\u{e9}".repeat(500).as_bytes()).chars().count(), 11 + 120 + 2);
    }
}
