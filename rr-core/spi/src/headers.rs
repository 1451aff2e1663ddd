//! The application's headers: an ordered multimap with the same meaning on every transport.

mod binary;
pub(crate) mod rules;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::defaults;
use crate::spent::RR_SPENT;

pub use binary::{decode_binary, encode_binary};

/// The type of a body.
pub const CONTENT_TYPE: &str = "content-type";

/// The application's headers: an ordered multimap with the same meaning on every transport.
///
/// Names are lower-case `[a-z0-9][a-z0-9.-]*`; upper-case letters are folded. Values are printable
/// ASCII without space at the edges, and may be empty; a name that ends in `-bin` carries bytes
/// instead. The limits are 64 entries and 16 KiB in all. Names that belong to the transport or to
/// [`Context`](crate::Context) are refused. Names that begin with `trailer-` (Connect's trailing
/// metadata) travel on replies and errors only: a request with such a name is refused when it is
/// sent. There is at most one `content-type`.
///
/// Values of one name keep their order on every transport. The order of different names may change
/// on the way, and equality ignores it.
///
/// Empty headers are a null pointer, and a clone shares the entries.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use rr_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.insert("x-shop", "berlin")?;
/// headers.append("x-tag", "a")?;
/// headers.append("x-tag", "b")?;
/// assert_eq!(headers.get("x-shop"), Some("berlin"));
/// assert_eq!(headers.get_all("x-tag").collect::<Vec<_>>(), ["a", "b"]);
/// assert!(headers.insert("nats-msg-id", "1").is_err());
/// # Ok::<(), rr_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Headers(Option<Arc<Vec<Entry>>>);

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    name: Cow<'static, str>,
    value: Bytes,
}

/// Result of receiving a header from a peer, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Received {
    /// The header is now among the application's headers.
    Kept,
    /// The header belongs to the transport or to the context; the application does not see it.
    Reserved,
    /// The header does not fit the grammar; the application does not see it.
    Dropped,
    /// The header would exceed the limit of entries or bytes. A request is refused:
    /// `ResourceExhausted`, `request-too-large`. A successful reply becomes `Internal`, processed,
    /// `bad-response`. An error reply loses the header.
    OverLimit,
}

impl Headers {
    /// Makes empty headers, without an allocation.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Receives a header from a peer: folds its name and adds it if the application may see it.
    ///
    /// For transports. The value of a `-bin` name is passed decoded.
    pub fn receive(&mut self, name: &str, value: Bytes) -> Received {
        let name = &*folded(name);
        if rules::is_reserved(name) {
            return Received::Reserved;
        }
        if !rules::is_name(name) || !(rules::is_binary(name) || rules::is_text(&value)) {
            return Received::Dropped;
        }
        self.keep(name, value)
    }

    /// Adds a header whose name and value have been checked.
    fn keep(&mut self, name: &str, value: Bytes) -> Received {
        let name = match rules::intern(name) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(name.to_owned()),
        };
        if self.push(name, value) { Received::Kept } else { Received::OverLimit }
    }

    /// Receives a header in its wire form: the value of a `-bin` name is base64, and a proxy may
    /// have joined several values with commas (RFC 9110 §5.2).
    pub(crate) fn receive_encoded(&mut self, name: &str, value: &[u8]) -> Received {
        if rules::is_reserved(name) {
            return Received::Reserved;
        }
        if has_upper_case(name) {
            return self.receive_encoded(&name.to_ascii_lowercase(), value);
        }
        let is_binary = rules::is_binary(name);
        if !rules::is_name(name) || !(is_binary || rules::is_text(value)) {
            return Received::Dropped;
        }
        if !is_binary {
            let value = match rules::common_value(value) {
                Some(known) => Bytes::from_static(known),
                None => Bytes::copy_from_slice(value),
            };
            return self.keep(name, value);
        }
        let values = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let received = values.map(|value| {
            decode_binary(value).map_or(Received::Dropped, |value| self.keep(name, value))
        });
        received.max().unwrap_or(Received::Dropped)
    }

    /// Returns every entry in order, as text for the wire: values of `-bin` names are base64.
    #[must_use]
    pub fn encoded(&self) -> impl ExactSizeIterator<Item = (&str, Bytes)> {
        self.iter().map(|(name, value)| match rules::is_binary(name) {
            true => (name, Bytes::from(encode_binary(value))),
            false => (name, value.clone()),
        })
    }

    /// Removes all headers of a name and returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        if !self.contains(name) {
            return false;
        }
        if let Some(entries) = &mut self.0 {
            Arc::make_mut(entries).retain(|entry| !entry.name.eq_ignore_ascii_case(name));
            if entries.is_empty() {
                self.0 = None;
            }
        }
        true
    }

    /// Returns the first value of a name; `None` for a `-bin` name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Returns the first value of a `-bin` name.
    #[must_use]
    pub fn get_bin(&self, name: &str) -> Option<&Bytes> {
        let wanted = |entry: &&Entry| entry.name.eq_ignore_ascii_case(name);
        self.entries()
            .iter()
            .find(wanted)
            .filter(|entry| rules::is_binary(&entry.name))
            .map(|e| &e.value)
    }

    /// Returns every text value of a name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.entries()
            .iter()
            .filter(move |entry| entry.name.eq_ignore_ascii_case(name))
            .filter(|entry| !rules::is_binary(&entry.name))
            .filter_map(|entry| std::str::from_utf8(&entry.value).ok())
    }

    /// Returns every entry in order, as name and bytes; values of `-bin` names are not encoded.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Bytes)> {
        self.entries().iter().map(|entry| (&*entry.name, &entry.value))
    }

    /// Returns whether there is a header of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.entries().iter().any(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Returns whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether values of this name are bytes, which text transports encode as base64.
    #[must_use]
    pub fn is_binary_name(name: &str) -> bool {
        rules::is_binary(name)
    }

    /// Returns a name that only replies may carry, if there is one.
    #[inline]
    pub(crate) fn reply_only(&self) -> Option<&str> {
        let mut names = self.entries().iter().map(|entry| &*entry.name);
        names.find(|name| rules::is_of_replies(name))
    }

    /// Removes the headers that only replies may carry.
    #[inline]
    /// Returns whether both are the same entries in memory, or both are empty.
    pub(crate) fn shares_entries(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            _ => self.is_empty() && other.is_empty(),
        }
    }

    /// Adds the times of the handler, which no application sees.
    pub(crate) fn set_spent(&mut self, value: String) {
        self.push(Cow::Borrowed(RR_SPENT), value.into());
    }

    /// Removes the times of the handler.
    pub(crate) fn take_spent(&mut self) -> Option<String> {
        let value = self.get(RR_SPENT)?.to_owned();
        self.remove(RR_SPENT);
        Some(value)
    }

    pub(crate) fn remove_reply_only(&mut self) {
        while let Some(name) = self.reply_only().map(str::to_owned) {
            self.remove(&name);
        }
    }

    /// Copies every value out of its receive buffer.
    pub(crate) fn compacted(&self) -> Self {
        let copied = |entry: &Entry| Entry {
            name: entry.name.clone(),
            value: Bytes::copy_from_slice(&entry.value),
        };
        Self(self.0.as_ref().map(|entries| Arc::new(entries.iter().map(copied).collect())))
    }

    /// Returns the values of a name in order, including those of `-bin` names.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_ref().map_or(&[], |entries| entries)
    }

    /// Adds an entry and returns whether it fits the limits.
    pub(crate) fn push(&mut self, name: Cow<'static, str>, value: Bytes) -> bool {
        let bytes: usize = self.entries().iter().map(|e| e.name.len() + e.value.len()).sum();
        let fits = self.len() < defaults::HEADER_ENTRIES_MAX
            && bytes + name.len() + value.len() <= defaults::HEADER_BYTES_MAX;
        if fits {
            let entries = self.0.get_or_insert_with(Default::default);
            Arc::make_mut(entries).push(Entry { name, value });
        }
        fits
    }
}

/// Returns a name in lower case; copies the name only if it has upper-case letters.
pub(crate) fn folded(name: &str) -> Cow<'_, str> {
    match has_upper_case(name) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

pub(crate) fn has_upper_case(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase())
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && (self.entries() == other.entries()
                || self.iter().all(|(name, _)| self.values(name).eq(other.values(name))))
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    /// Shows names and values; values that are credentials are hidden.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&str, &Bytes)| match rules::is_secret(name) {
            true => (name.to_owned(), Bytes::from_static(b"***")),
            false => (name.to_owned(), value.clone()),
        };
        f.debug_map().entries(self.iter().map(shown)).finish()
    }
}

#[cfg(test)]
mod tests;
