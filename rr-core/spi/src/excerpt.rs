//! Foreign text in error messages and logs.

use std::borrow::Cow;

/// Returns the first characters of a foreign text, escaped, for an error message.
///
/// An error that quotes what a peer or a user wrote must neither grow with it nor carry control
/// characters into a log.
#[must_use]
pub fn excerpt(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    text[..end].escape_debug().to_string()
}

/// Returns the value of an option as logs and errors may show it.
///
/// The URL of a proxy is not shown at all: even a malformed one may contain a password. Of any other
/// value, the text before the last `@` is hidden. The value may be percent-encoded.
pub(crate) fn shown_value<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if is_secret(name) {
        return "***".into();
    }
    let lower = value.to_ascii_lowercase();
    let plain = lower.rfind('@').map(|at| at + 1);
    match plain.max(lower.rfind("%40").map(|at| at + 3)) {
        Some(end) => format!("***@{}", &value[end..]).into(),
        None => value.into(),
    }
}

/// Returns whether an option or an environment variable holds the URL of a proxy. An encoded name
/// may be any.
fn is_secret(name: &str) -> bool {
    name.contains('%') || name.to_ascii_lowercase().ends_with("proxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_control_characters_are_escaped() {
        assert_eq!(excerpt("a\nb", 64), "a\\nb");
        assert_eq!(excerpt("äöü", 2), "äö");
        assert_eq!(excerpt("", 0), "");
    }

    #[test]
    fn nothing_of_a_proxy_is_shown_and_of_other_values_nothing_before_an_at() {
        for secret in ["orders:hunter2@proxy:3128", "http:/u:hunter2@h", "http://u:hunter2", ""] {
            for name in ["proxy", "PROXY", "RR_HTTP_PROXY", "pro%78y"] {
                assert_eq!(shown_value(name, secret), "***", "{name}");
            }
        }
        for (value, shown) in [
            ("http://user:hunter2@proxy:3128", "***@proxy:3128"),
            ("http%3A%2F%2Fuser%3Ahunter2%40proxy", "***@proxy"),
            ("http://user:hun@ter2%40proxy/a", "***@proxy/a"),
            ("orders:hunter2@proxy:3128", "***@proxy:3128"),
            ("http:/u:hunter2@h", "***@h"),
            ("http://proxy:3128", "http://proxy:3128"),
            ("y@z", "***@z"),
            ("", ""),
        ] {
            assert_eq!(shown_value("hosts", value), shown);
        }
    }
}
