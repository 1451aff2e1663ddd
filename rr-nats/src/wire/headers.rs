//! Header blocks: written so that nothing can split a message, read whatever they hold.

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::Headers;
use rr_spi::wire::CONTENT_TYPE;

/// The content type that is implied.
const JSON: &str = "application/json";

/// Adds a header whose name is known to be one.
///
/// A value that could split the message is made safe: the library would panic.
pub(super) fn put(map: &mut Option<HeaderMap>, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_str(&one_line(value)))
        .unwrap_or_default();
    map.get_or_insert_default().insert(HeaderName::from_static(name), value);
}

/// Adds a header whose name and value are known to be fine: printable ASCII, made by us.
pub(super) fn put_plain(map: &mut Option<HeaderMap>, name: &'static str, value: String) {
    debug_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "made by us: {value}");
    map.get_or_insert_default().insert(HeaderName::from_static(name), HeaderValue::from(value));
}

/// Adds the application's headers; those of `-bin` names are encoded.
///
/// JSON is what a body is when nothing is said of it (docs/src/wire.md#other-headers), so that a
/// typed call has no header block for the sake of its content type.
pub(super) fn put_all(map: &mut Option<HeaderMap>, headers: &Headers) {
    for (name, value) in headers.encoded() {
        if name == CONTENT_TYPE && value == JSON {
            continue;
        }
        // Headers keep to a narrower grammar than the library's, so that neither can fail.
        let text = std::str::from_utf8(&value).unwrap_or_default();
        let pair = (HeaderName::from_str(name), HeaderValue::from_str(text));
        if let (Ok(name), Ok(value)) = pair {
            map.get_or_insert_default().append(name, value);
        }
    }
}

/// Replaces everything but printable ASCII.
pub(super) fn one_line(text: &str) -> String {
    let safe = |char: char| match char {
        ' '..='~' => char,
        _ if char.is_control() => ' ',
        _ => '?',
    };
    text.chars().map(safe).collect::<String>().trim().to_owned()
}

/// Returns every header, ordered by name: the order of the library's map depends on its hashing.
pub(super) fn sorted(map: &HeaderMap) -> impl Iterator<Item = (&str, &HeaderValue)> {
    let mut all: Vec<(&str, &[HeaderValue])> = Vec::new();
    let mut only = None;
    if map.len() > 1 {
        all = map.iter().map(|(name, values)| (name.as_ref(), values.as_slice())).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
    } else {
        only = map.iter().next().map(|(name, values)| (name.as_ref(), values.as_slice()));
    }
    let all = only.into_iter().chain(all);
    all.flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
}

/// Returns how many bytes a header block takes in a message.
pub(crate) fn block_len(map: &HeaderMap) -> usize {
    // "NATS/1.0" and an empty line; then ": " and a line's end for each.
    let lines = map.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| name.len() + value.as_str().len() + 4)
    });
    12 + lines.sum::<usize>()
}
