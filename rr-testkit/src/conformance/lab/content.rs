//! Test bodies, texts and headers in which every lost or moved byte is detected.

use std::sync::OnceLock;

use rr_spi::{Bytes, Headers};

/// Returns a body in which a lost, doubled or moved byte is detected: its period is a prime.
pub(in crate::conformance) fn pattern(bytes: usize) -> Bytes {
    // Made once, since making it is slow in a debug build.
    static PERIOD: OnceLock<Vec<u8>> = OnceLock::new();
    let byte = |at: usize| (at % 251) as u8 ^ (at / 251) as u8;
    let period = PERIOD.get_or_init(|| (0..251 * 256).map(byte).collect());
    let mut body = period.repeat(bytes / period.len());
    body.extend_from_slice(&period[..bytes % period.len()]);
    body.into()
}

/// Returns text of characters of one to four bytes, at least `bytes` and at most three bytes more.
pub(in crate::conformance) fn unicode(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 3);
    for character in "aé漢🦀".chars().cycle() {
        if text.len() >= bytes {
            break;
        }
        text.push(character);
    }
    text
}

/// Adds `x-f` headers until there are `entries` headers with `bytes` of names and values in total.
///
/// # Panics
///
/// When that is impossible, which is a defect of the case.
pub(in crate::conformance) fn fill(headers: &mut Headers, entries: usize, bytes: usize) {
    let used = |headers: &Headers| -> usize {
        headers.iter().map(|(name, value)| name.len() + value.len()).sum()
    };
    while headers.len() < entries {
        let missing = entries - headers.len();
        let name = format!("x-f{missing}");
        let share = (bytes - used(headers)) / missing;
        let length = share.checked_sub(name.len()).expect("there is room for the name");
        let letter = char::from(b'a' + (missing % 26) as u8);
        let value = letter.to_string().repeat(length);
        headers.append(name, value).expect("it fits");
    }
    assert_eq!(used(headers), bytes, "the headers come out as asked for");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_filled_exactly() {
        let mut headers = Headers::new();
        headers.insert("lab-key", "k1").unwrap();
        fill(&mut headers, 64, 16 * 1024);
        assert_eq!(headers.len(), 64);
    }

    #[test]
    fn a_pattern_is_as_long_as_asked_for() {
        for bytes in [0, 1, 251 * 256 - 1, 251 * 256, 251 * 256 + 1, 1_000_000] {
            assert_eq!(pattern(bytes).len(), bytes);
        }
        assert_eq!(pattern(70_000)[251 * 256..][..9], pattern(9));
    }

    #[test]
    fn a_pattern_differs_from_itself_moved() {
        let body = pattern(70_000);
        assert_ne!(body[..60_000], body[256..60_256]);
        assert_ne!(body[..60_000], body[251..60_251]);
    }
}
