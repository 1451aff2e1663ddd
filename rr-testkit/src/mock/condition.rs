//! Conditions on a request, each of which says why a request does not meet it.

use std::panic::Location;
use std::sync::Arc;

use rr_spi::{Request, excerpt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json;

/// Condition on a request; the error says what differs.
pub(super) type Condition = Arc<dyn Fn(&Request) -> Result<(), String> + Send + Sync>;

/// Differences that a message names: an error's message has 1 KiB.
const DIFFERENCES_MAX: usize = 3;

/// Characters of a value that a message quotes.
const VALUE_CHARS_MAX: usize = 40;

/// Makes the condition that a predicate accepts the decoded input.
pub(super) fn when<T: DeserializeOwned>(
    predicate: impl Fn(&T) -> bool + Send + Sync + 'static,
    at: &'static Location<'static>,
) -> Condition {
    Arc::new(move |request| accepted(predicate(&json::decode(request)?), "when", at))
}

/// Makes the condition that a predicate accepts the request.
pub(super) fn when_raw(
    predicate: impl Fn(&Request) -> bool + Send + Sync + 'static,
    at: &'static Location<'static>,
) -> Condition {
    Arc::new(move |request| accepted(predicate(request), "when_raw", at))
}

fn accepted(is_accepted: bool, name: &str, at: &Location<'_>) -> Result<(), String> {
    if is_accepted { Ok(()) } else { Err(format!("the predicate of `{name}` at {at} is false")) }
}

/// Makes the condition that the input equals a value.
pub(super) fn equal(expected: Value) -> Condition {
    Arc::new(move |request| {
        let mut found = Vec::new();
        compare(&expected, &json::decode(request)?, "", &mut found);
        if found.is_empty() { Ok(()) } else { Err(listed(&found)) }
    })
}

fn listed(found: &[String]) -> String {
    let mut text = found[..found.len().min(DIFFERENCES_MAX)].join(", ");
    if let Some(more) = found.len().checked_sub(DIFFERENCES_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(", and {more} more"));
    }
    text
}

/// Collects the differences of two values, each with its path.
fn compare(expected: &Value, actual: &Value, path: &str, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let added = actual.keys().filter(|key| !expected.contains_key(*key));
            for key in expected.keys().chain(added) {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{}", excerpt(key, VALUE_CHARS_MAX));
                compare_parts(expected.get(key), actual.get(key), &path, found);
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            for at in 0..expected.len().max(actual.len()) {
                let path = format!("{path}[{at}]");
                compare_parts(expected.get(at), actual.get(at), &path, found);
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!(
            "{} is {}, expected {}",
            if path.is_empty() { "the input".to_owned() } else { format!("`{path}`") },
            quoted(actual),
            quoted(expected),
        )),
    }
}

fn compare_parts(
    expected: Option<&Value>,
    actual: Option<&Value>,
    path: &str,
    found: &mut Vec<String>,
) {
    match (expected, actual) {
        (Some(expected), Some(actual)) => compare(expected, actual, path, found),
        (Some(expected), None) => {
            found.push(format!("`{path}` is missing, expected {}", quoted(expected)));
        }
        (None, Some(actual)) => {
            found.push(format!("`{path}` is {}, expected nothing", quoted(actual)));
        }
        (None, None) => {}
    }
}

/// Returns a value as JSON, whose strings are escaped already, cut after some characters.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::Target;
    use serde_json::json;

    use super::*;

    fn differences(expected: &Value, body: &Value) -> String {
        let request = Request::new(Target::parse("a.b").unwrap(), body.to_string());
        equal(expected.clone())(&request).unwrap_err()
    }

    #[test]
    fn differences_are_named_with_their_paths() {
        let expected = json!({"cents": 5, "to": {"name": "ä", "lines": [1, 2]}});
        let actual = json!({"cents": 7, "to": {"name": "ä", "lines": [1]}, "tip": null});
        let text = differences(&expected, &actual);
        let parts = [
            "`cents` is 7, expected 5",
            "`to.lines[1]` is missing, expected 2",
            "`tip` is null, expected nothing",
        ];
        for part in parts {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches(", expected").count(), 3, "{text}");
        assert_eq!(differences(&json!(1), &json!("1")), "the input is \"1\", expected 1");
        let equal = equal(expected.clone());
        let request = Request::new(Target::parse("a.b").unwrap(), expected.to_string());
        assert_eq!(equal(&request), Ok(()));
    }

    #[test]
    fn many_and_long_differences_are_cut() {
        let (expected, actual): (Vec<_>, Vec<_>) = (vec![0; 9], vec!["é".repeat(500); 9]);
        let text = differences(&json!(expected), &json!(actual));
        assert!(text.ends_with(", and 6 more") && text.len() < 500, "{text}");
    }
}
