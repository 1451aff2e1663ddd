//! Header blocks: values are written so that they cannot split a message; any block can be read.

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::Headers;
use rr_spi::wire::CONTENT_TYPE;

/// Content type of a body without a content-type header.
const JSON: &str = "application/json";

/// Adds a header whose name is known to be valid.
///
/// Unsafe characters in the value are replaced: the library would panic on a value that could split
/// the message.
pub(super) fn put(map: &mut Option<HeaderMap>, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_str(&one_line(value)))
        .unwrap_or_default();
    map.get_or_insert_default().insert(HeaderName::from_static(name), value);
}

/// Adds a header whose name and value are known to be valid: printable ASCII, made by this crate.
pub(super) fn put_plain(map: &mut Option<HeaderMap>, name: &'static str, value: String) {
    debug_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "made by us: {value}");
    map.get_or_insert_default().insert(HeaderName::from_static(name), HeaderValue::from(value));
}

/// Adds the application's headers; values of `-bin` names are encoded.
///
/// A body without a content type is JSON (docs/src/wire.md#other-headers), so that a typed call
/// needs no header block for its content type.
pub(super) fn put_all(map: &mut Option<HeaderMap>, headers: &Headers) {
    for (name, value) in headers.encoded() {
        if name == CONTENT_TYPE && value == JSON {
            continue;
        }
        // Headers follow a narrower grammar than the library's, so that neither conversion fails.
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

/// Returns the length of a header block in a message, in bytes.
pub(crate) fn block_len(map: &HeaderMap) -> usize {
    // "NATS/1.0" and an empty line; then ": " and a line end for each header.
    let lines = map.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| name.len() + value.as_str().len() + 4)
    });
    12 + lines.sum::<usize>()
}
