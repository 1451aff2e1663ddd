//! Redaction: the parts of a call that are recorded, and those that are hidden.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use rr_spi::{Headers, Target};

use super::body::Body;
use super::headers::Header;

/// Headers whose values are recorded by default. None of them carries credentials or personal data.
const HEADERS: [&str; 7] = [
    "accept",
    "cache-control",
    "content-language",
    "content-type",
    "traceparent",
    "user-agent",
    "x-request-id",
];

/// Some pages of text. A test that needs a longer reply sets the limit.
const BODY_BYTES_MAX: usize = 64 * 1024;

type Rule = dyn Fn(Part, &Target, &Bytes) -> Option<Bytes> + Send + Sync;

/// Part of a call that a rule of the [`Redaction`] may rewrite or remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The body of the request.
    RequestBody,
    /// The body of the reply.
    ReplyBody,
    /// The value of a detail of an error.
    ErrorDetail,
    /// A text of an error: its message, its hint, the note of a timeline, or the endpoint of an
    /// attempt.
    ErrorText,
}

/// Selection of the parts of a call that a recording shows.
///
/// By default, the value of a header is recorded only if its name is one of `accept`,
/// `cache-control`, `content-language`, `content-type`, `traceparent`, `user-agent` and
/// `x-request-id`; of all other headers the name alone is recorded. The metadata of the context and
/// the idempotency key count as headers: `baggage`, `tracestate` and `idempotency-key` are hidden.
///
/// Bodies and details of errors are recorded up to 64 KiB, messages and hints of errors as they are.
/// They are data of the application: if they may contain secrets, set a rule that rewrites or
/// removes them.
///
/// # Examples
///
/// ```
/// use rr_core::record::{Part, Redaction};
///
/// let redaction = Redaction::default()
///     .with_header("x-tenant")
///     .with_rule(|part, target, content| match part {
///         Part::RequestBody if target == "users.log_in" => None,
///         _ => Some(content.clone()),
///     });
/// ```
#[derive(Clone)]
pub struct Redaction {
    headers: BTreeSet<String>,
    shows_every_header: bool,
    body_bytes_max: usize,
    rule: Option<Arc<Rule>>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self {
            headers: HEADERS.map(str::to_owned).into(),
            shows_every_header: false,
            body_bytes_max: BODY_BYTES_MAX,
            rule: None,
        }
    }
}

impl Redaction {
    /// Records the values of this header too. Upper and lower case are equal.
    #[must_use]
    pub fn with_header(mut self, name: &str) -> Self {
        self.headers.insert(name.to_ascii_lowercase());
        self
    }

    /// Records the values of all headers, credentials included: for calls with invented data.
    #[must_use]
    pub fn with_every_header(mut self) -> Self {
        self.shows_every_header = true;
        self
    }

    /// Cuts longer bodies, and longer details of errors, after so many bytes. Default 64 KiB; 0
    /// records their lengths only. More than 3 MiB may exceed the longest line, 16 MiB.
    ///
    /// A replay does not answer with a reply that was cut.
    #[must_use]
    pub const fn with_body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Sets the function that returns the content to record, or `None` to remove the content.
    ///
    /// The rule sees the whole content, before it is cut. It runs in the thread of the recorder; if
    /// it panics, the content is removed.
    ///
    /// The message of an error with the reason `decode` may quote the names of members of a body. It
    /// is removed if the rule rewrites or removes that body: the request's if the code is
    /// `InvalidArgument`. With another code it is a reply that is not known here, so that the rule
    /// is asked about the message as the part [`Part::ReplyBody`].
    ///
    /// No rule applies to names and tokens: the target, the names of headers, the reason of an error,
    /// the types of its details.
    #[must_use]
    pub fn with_rule<F>(mut self, rule: F) -> Self
    where
        F: Fn(Part, &Target, &Bytes) -> Option<Bytes> + Send + Sync + 'static,
    {
        self.rule = Some(Arc::new(rule));
        self
    }

    /// Returns the form of headers.
    pub(super) fn headers(&self, headers: &Headers) -> Vec<Header> {
        let text = |value: Bytes| String::from_utf8_lossy(&value).into_owned();
        headers.encoded().map(|(name, value)| self.header(name, text(value))).collect()
    }

    /// Returns the form of one header.
    pub(super) fn header(&self, name: &str, value: String) -> Header {
        let is_shown = self.shows_every_header || self.headers.contains(name);
        (name.to_owned(), is_shown.then_some(value))
    }

    /// Returns the form of a body.
    pub(super) fn body(&self, part: Part, target: &Target, body: &Bytes) -> Body {
        match self.apply(part, target, body) {
            Some(kept) => Body::new(&kept, self.body_bytes_max).with_rewritten(kept != body),
            None => Body::removed(body.len()),
        }
    }

    /// Returns what the rule leaves of a text.
    pub(super) fn text(&self, part: Part, target: &Target, text: &str) -> Option<String> {
        if self.rule.is_none() {
            return Some(text.to_owned());
        }
        let kept = self.apply(part, target, &Bytes::copy_from_slice(text.as_bytes()))?;
        Some(String::from_utf8_lossy(&kept).into_owned())
    }

    /// Returns whether the rule neither rewrites nor removes a content.
    pub(super) fn keeps_whole(&self, part: Part, target: &Target, content: &Bytes) -> bool {
        self.rule.is_none() || self.apply(part, target, content).as_ref() == Some(content)
    }

    /// Returns what the rule leaves of a content.
    pub(super) fn apply(&self, part: Part, target: &Target, content: &Bytes) -> Option<Bytes> {
        let Some(rule) = &self.rule else { return Some(content.clone()) };
        let kept = catch_unwind(AssertUnwindSafe(|| rule(part, target, content)));
        // A payload that panics when it is dropped must not end the thread.
        kept.map_err(std::mem::forget).ok().flatten()
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction")
            .field("headers", &self.headers)
            .field("shows_every_header", &self.shows_every_header)
            .field("body_bytes_max", &self.body_bytes_max)
            .field("has_rule", &self.rule.is_some())
            .finish()
    }
}
