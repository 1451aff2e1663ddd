//! Bodies, texts and headers whose every byte can be told.

use rr_spi::{Bytes, Headers};

/// Returns a body in which a byte that is lost, doubled or moved shows: its period is a prime.
pub(in crate::conformance) fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at % 251) as u8 ^ (at / 251 % 256) as u8).collect()
}

/// Returns text of characters of one to four bytes, `bytes` long or up to three more.
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

/// Adds `x-f` headers until there are `entries` in all, with `bytes` of names and values in all.
///
/// # Panics
///
/// When that is impossible: a defect of the case.
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
    fn a_pattern_differs_from_itself_moved() {
        let body = pattern(70_000);
        assert_ne!(body[..60_000], body[256..60_256]);
        assert_ne!(body[..60_000], body[251..60_251]);
    }
}
