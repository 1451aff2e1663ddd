//! Foreign text in error messages.

/// Returns the first characters of a foreign text, escaped, for an error message.
///
/// An error that quotes what a peer or a user wrote must neither grow with it nor carry control
/// characters into a log.
#[must_use]
pub fn excerpt(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    text[..end].escape_debug().to_string()
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
}
