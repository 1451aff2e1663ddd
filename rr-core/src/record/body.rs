//! Form of a body: JSON, text or base64, whichever loses nothing.

use bytes::Bytes;
use rr_spi::wire::{decode_binary, encode_binary};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Form of a body. At most one of the first three members is set; an empty body has none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Body {
    /// The body itself, if it is JSON on one line.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    json: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// The length of the whole body, if the content is cut or missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Whether a rule of the redaction replaced the body.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rewritten: bool,
}

/// Reads a value that is present, `null` included.
fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// Content of a body that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The recorded part.
    pub(super) part: Bytes,
    /// The length of the whole body, if this is a part of it.
    pub(super) whole_bytes: Option<u64>,
}

impl Body {
    /// Makes the form of a body, cut after so many bytes.
    pub(super) fn new(body: &[u8], bytes_max: usize) -> Self {
        if body.len() <= bytes_max {
            return Self::whole(body);
        }
        let bytes = Some(body.len() as u64);
        // A text stays a text: it is cut between two characters.
        let end = std::str::from_utf8(body).map_or(Some(bytes_max), |text| {
            (0..=bytes_max).rev().find(|&at| text.is_char_boundary(at))
        });
        let kept = &body[..end.unwrap_or(0)];
        Self { bytes, ..Self::plain(kept) }
    }

    /// Makes the form of a body that is not recorded.
    pub(super) fn removed(bytes: usize) -> Self {
        Self { bytes: Some(bytes as u64), ..Self::default() }
    }

    pub(super) fn with_rewritten(mut self, rewritten: bool) -> Self {
        self.rewritten = rewritten;
        self
    }

    fn whole(body: &[u8]) -> Self {
        match json(body) {
            Some(json) => Self { json: Some(json.to_owned()), ..Self::default() },
            None => Self::plain(body),
        }
    }

    fn plain(body: &[u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok("") => Self::default(),
            Ok(text) if text.chars().all(is_legible) => {
                Self { text: Some(text.to_owned()), ..Self::default() }
            }
            _ => Self { base64: Some(encode_binary(body)), ..Self::default() },
        }
    }

    /// Returns whether the body is empty and was not changed.
    pub(super) fn is_empty(&self) -> bool {
        let Self { json, text, base64, bytes, rewritten } = self;
        json.is_none() && text.is_none() && base64.is_none() && bytes.is_none() && !rewritten
    }

    /// Returns the content; `None` if it is malformed.
    pub(super) fn content(&self) -> Option<Content> {
        let part = match (&self.json, &self.text, &self.base64) {
            (None, None, None) => Bytes::new(),
            (Some(json), None, None) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
            (None, None, Some(base64)) => decode_binary(base64.as_bytes())?,
            _ => return None,
        };
        Some(Content { part, whole_bytes: self.bytes })
    }
}

impl Content {
    /// Returns the body; `None` if a part of it was not recorded.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        self.whole_bytes.is_none().then_some(&self.part)
    }

    /// Returns whether this may be the record of a body: the recorded part and the length are equal.
    pub(super) fn is_of(&self, body: &[u8]) -> bool {
        match self.whole_bytes {
            None => self.part == body,
            Some(bytes) => body.len() as u64 == bytes && body.starts_with(&self.part),
        }
    }

    /// Describes the content from this byte on.
    pub(super) fn excerpt_from(&self, from: usize) -> String {
        excerpt_from(&self.part, from)
    }
}

/// Returns a few characters of a body, from this byte on. Control characters are escaped; quotes are
/// not, so that JSON stays legible.
pub(super) fn excerpt_from(body: &[u8], from: usize) -> String {
    const CHARS: usize = 48;
    let rest = body.get(from..).unwrap_or_default();
    let rest = String::from_utf8_lossy(&rest[..rest.len().min(4 * CHARS)]);
    let mut shown = String::new();
    for char in rest.chars().take(CHARS) {
        match char.is_control() {
            true => shown.extend(char.escape_debug()),
            false => shown.push(char),
        }
    }
    shown
}

/// Returns a body as JSON if it is one JSON text without space around it or line breaks.
fn json(body: &[u8]) -> Option<&RawValue> {
    let has_breaks = body.iter().any(u8::is_ascii_control);
    let json: &RawValue = if has_breaks { None } else { serde_json::from_slice(body).ok() }?;
    (json.get().len() == body.len()).then_some(json)
}

/// Returns whether a character may stand in a text. A body with other characters is base64, which
/// is shorter than their escapes.
fn is_legible(char: char) -> bool {
    !char.is_control() || matches!(char, '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(body: &[u8], bytes_max: usize) -> String {
        serde_json::to_string(&Body::new(body, bytes_max)).unwrap()
    }

    #[test]
    fn a_body_has_the_most_legible_form_that_loses_nothing() {
        for (body, form) in [
            (&b""[..], "{}"),
            (b"tea", r#"{"text":"tea"}"#),
            (b"{\"b\":1, \"a\":1.0, \"a\":1e999}", r#"{"json":{"b":1, "a":1.0, "a":1e999}}"#),
            (b"null", r#"{"json":null}"#),
            (b" 1", r#"{"text":" 1"}"#),
            (b"1 ", r#"{"text":"1 "}"#),
            (b"[1,\n2]", r#"{"text":"[1,\n2]"}"#),
            (b"a\0", r#"{"base64":"YQA"}"#),
            (b"\xff", r#"{"base64":"/w"}"#),
        ] {
            assert_eq!(written(body, 100), form);
            let read: Body = serde_json::from_str(form).unwrap();
            assert_eq!(read.content().unwrap().whole().unwrap(), body, "{form}");
            assert_eq!(read.is_empty(), body.is_empty());
        }
    }

    #[test]
    fn a_cut_body_says_how_long_it_was_and_is_never_whole() {
        assert_eq!(written(b"{\"a\":1}", 7), r#"{"json":{"a":1}}"#);
        assert_eq!(written(b"{\"a\":1}", 6), r#"{"text":"{\"a\":1","bytes":7}"#);
        assert_eq!(written("aäb".as_bytes(), 2), r#"{"text":"a","bytes":4}"#);
        assert_eq!(written(b"a\xff\xff", 2), r#"{"base64":"Yf8","bytes":3}"#);
        assert_eq!(written(b"a", 0), r#"{"bytes":1}"#);
        let cut = Body::new(b"abcd", 2).content().unwrap();
        assert_eq!(cut.whole(), None);
        assert!(cut.is_of(b"abcd") && cut.is_of(b"abxx"));
        assert!(!cut.is_of(b"abc") && !cut.is_of(b"xbcd"));
        assert_eq!(Body::removed(3).content().unwrap().whole(), None);
    }

    #[test]
    fn two_forms_or_malformed_base64_are_no_body() {
        for form in [r#"{"text":"a","json":1}"#, r#"{"base64":"%"}"#] {
            assert_eq!(serde_json::from_str::<Body>(form).unwrap().content(), None, "{form}");
        }
    }

    proptest! {
        #[test]
        fn every_body_comes_back(
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                ".{0,40}".prop_map(String::into_bytes),
                "[\\[\\]{}\",:0-9a \\\\]{0,12}".prop_map(String::into_bytes),
            ],
            bytes_max in 0..70usize,
        ) {
            let line = written(&body, bytes_max);
            prop_assert!(!line.contains(['\n', '\r']));
            let content = serde_json::from_str::<Body>(&line).unwrap().content().unwrap();
            prop_assert!(content.is_of(&body), "{}", line);
            prop_assert_eq!(content.whole().is_some(), body.len() <= bytes_max);
            prop_assert!(content.part.len() <= bytes_max);
        }
    }
}
