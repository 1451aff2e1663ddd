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

/// Hides the credentials of a URL that is the value of a parameter, such as that of a proxy: all text
/// before the last `@`. The value may be percent-encoded.
pub(crate) fn hide_credentials(value: &str) -> Cow<'_, str> {
    let lower = value.to_ascii_lowercase();
    let is_url = lower.contains("//") || lower.contains("%2f");
    let plain = lower.rfind('@').map(|at| at + 1);
    let end = plain.max(lower.rfind("%40").map(|at| at + 3));
    match end.filter(|_| is_url) {
        Some(end) => format!("***@{}", &value[end..]).into(),
        None => value.into(),
    }
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
    fn the_credentials_of_a_url_are_hidden_and_other_values_are_shown() {
        for (value, shown) in [
            ("http://user:hunter2@proxy:3128", "***@proxy:3128"),
            ("http%3A%2F%2Fuser%3Ahunter2%40proxy", "***@proxy"),
            ("http://user:hun@ter2%40proxy/a", "***@proxy/a"),
            ("http://proxy:3128", "http://proxy:3128"),
            ("y@z", "y@z"),
            ("", ""),
        ] {
            assert_eq!(hide_credentials(value), shown);
        }
    }
}
