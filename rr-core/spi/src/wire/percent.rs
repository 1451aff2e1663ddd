//! Percent-escapes of URLs (RFC 3986 §2.1).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Decodes percent-escapes. Returns `None` for an escape without two hexadecimal digits.
#[must_use]
pub fn percent_decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let is_whole = |(at, _)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    text.match_indices('%').all(is_whole).then(|| percent_decode_str(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_escapes_are_decoded_and_broken_ones_refused() {
        for (text, decoded) in [("", ""), ("a+b", "a+b"), ("%61%2Fb", "a/b"), ("%25%3d", "%=")] {
            assert_eq!(percent_decode(text).as_deref(), Some(decoded.as_bytes()), "{text}");
        }
        assert_eq!(percent_decode("%ff").as_deref(), Some(&[255][..]));
        for broken in ["%", "%4", "%g0", "%0g", "a%%41", "%+1", "%ä"] {
            assert_eq!(percent_decode(broken), None, "{broken}");
        }
    }
}
