//! Hash of a JSON value, so that two texts of a value are compared without another parse.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Number, Value};

/// Hash of a JSON value: equal for two texts that differ in space, escapes or the order of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonHash(u64);

impl JsonHash {
    /// Parses a body; `None` if it is not JSON.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        #[cfg(test)]
        PARSED.set(PARSED.get() + 1);
        let value = serde_json::from_slice::<Value>(body).ok()?;
        let mut hasher = DefaultHasher::new();
        add(&value, &mut hasher);
        Some(Self(hasher.finish()))
    }
}

/// Adds a value, with the lengths of what it contains. The parser bounds the depth.
fn add(value: &Value, to: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(to);
    match value {
        Value::Null => {}
        Value::Bool(bool) => bool.hash(to),
        Value::Number(number) => add_number(number, to),
        Value::String(text) => text.hash(to),
        Value::Array(values) => {
            values.len().hash(to);
            values.iter().for_each(|value| add(value, to));
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            members.len().hash(to);
            for (name, value) in members {
                name.hash(to);
                add(value, to);
            }
        }
    }
}

/// Adds a number: `1` and `1.0` differ, `0.0` and `-0.0` do not.
fn add_number(number: &Number, to: &mut DefaultHasher) {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), ..) => (0, number).hash(to),
        (None, Some(number), _) => (1, number).hash(to),
        // The sum with zero has no sign if it is zero.
        (None, None, float) => (2, float.map(|float| (float + 0.0).to_bits())).hash(to),
    }
}

#[cfg(test)]
thread_local! {
    /// Number of bodies that this thread has parsed.
    pub(super) static PARSED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_equal(one: &str, other: &str) -> bool {
        JsonHash::of(one.as_bytes()).unwrap() == JsonHash::of(other.as_bytes()).unwrap()
    }

    #[test]
    fn texts_of_one_value_are_equal_and_other_values_are_not() {
        let text = r#"{"a":[1,-2,0.0,null,true],"b":"\u00e9"}"#;
        assert!(is_equal(text, r#" {"b":"é", "a":[1, -2, -0.0, null, true]}"#));
        for (from, to) in [
            ("1", "1.0"),
            ("-2", "2"),
            ("null", "false"),
            ("true", "\"true\""),
            ("[1,", "[[1],"),
            ("\"b\"", "\"c\""),
            ("0.0", "0.5"),
        ] {
            assert!(!is_equal(text, &text.replacen(from, to, 1)), "{from} {to}");
        }
        assert_eq!(JsonHash::of(b"{"), None);
    }

    proptest! {
        #[test]
        fn hashes_are_equal_if_the_values_are(
            one in "[\\[\\]{}\",:0-9a-]{0,8}",
            other in "[\\[\\]{}\",:0-9a-]{0,8}",
        ) {
            let json = |text: &str| serde_json::from_str::<Value>(text).ok();
            let hash = |text: &str| JsonHash::of(text.as_bytes());
            for (one, other) in [(&one, &other), (&one, &format!(" {one}"))] {
                prop_assert_eq!(hash(one).is_some(), json(one).is_some());
                prop_assert_eq!(hash(one) == hash(other), json(one) == json(other));
            }
        }
    }
}
