//! Changes of headers by applications, which are checked.

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::{Code, Delivery, Error, Reason};
use crate::excerpt::excerpt;
use crate::headers::{CONTENT_TYPE, Headers, folded, rules};

impl Headers {
    /// Sets a header, replacing all headers of that name.
    ///
    /// # Errors
    ///
    /// Not sent: `InvalidArgument` when the name or the value does not fit the grammar or the name
    /// is reserved; `ResourceExhausted`, `request-too-large`, when the headers would exceed the
    /// limits.
    pub fn insert(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<(), Error> {
        let name = checked_name(name.into())?;
        let value = checked_text(&name, value.into())?;
        if !self.contains(&name) {
            return self.add(name, value);
        }
        // Works on a copy, so that the old value stays if the new value does not fit.
        let mut replaced = self.clone();
        replaced.remove(&name);
        replaced.add(name, value)?;
        *self = replaced;
        Ok(())
    }

    /// Adds a header after those of the same name.
    ///
    /// # Errors
    ///
    /// As [`Headers::insert`]; also `InvalidArgument` for a second `content-type`.
    pub fn append(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<(), Error> {
        let name = checked_name(name.into())?;
        let value = checked_text(&name, value.into())?;
        if name == CONTENT_TYPE && self.contains(&name) {
            return Err(Error::invalid_argument("a message has one content-type only"));
        }
        self.add(name, value)
    }

    /// Adds a binary header; its name ends in `-bin`.
    ///
    /// # Errors
    ///
    /// As [`Headers::insert`]; also `InvalidArgument` when the name does not end in `-bin`.
    pub fn append_bin(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let name = checked_name(name.into())?;
        if !rules::is_binary(&name) {
            return Err(Error::invalid_argument(format!(
                "header `{name}` carries bytes: its name must end in -bin"
            )));
        }
        self.add(name, value.into())
    }

    /// Makes the error for a request that exceeds the limits of headers.
    #[must_use]
    pub fn too_many(delivery: Delivery) -> Error {
        let (code, reason) = (Code::ResourceExhausted, Reason::REQUEST_TOO_LARGE);
        Error::failure(code, delivery, reason, "more than 64 headers or 16 KiB of them")
    }

    fn add(&mut self, name: Cow<'static, str>, value: Bytes) -> Result<(), Error> {
        if self.push(name, value) { Ok(()) } else { Err(Self::too_many(Delivery::NotSent)) }
    }
}

fn checked_name(name: Cow<'static, str>) -> Result<Cow<'static, str>, Error> {
    let name = if let Cow::Owned(folded) = folded(&name) { Cow::Owned(folded) } else { name };
    let shown = || excerpt(&name, 64);
    if !rules::is_name(&name) {
        return Err(Error::invalid_argument(format!("header name `{}` is malformed", shown()))
            .with_hint("use letters, digits, `-` and `.`, starting with a letter or digit"));
    }
    if rules::is_reserved(&name) {
        return Err(Error::invalid_argument(format!("header name `{}` is reserved", shown()))
            .with_hint("names of the protocol, and those that Context carries, cannot be set"));
    }
    Ok(name)
}

fn checked_text(name: &str, value: Cow<'static, str>) -> Result<Bytes, Error> {
    if rules::is_binary(name) {
        return Err(Error::invalid_argument(format!(
            "header `{name}` carries bytes: use append_bin"
        )));
    }
    if !rules::is_text(value.as_bytes()) {
        return Err(Error::invalid_argument(format!(
            "the value of header `{name}` is not printable ASCII"
        ))
        .with_hint("no control characters, no space at the edges; other text goes in `-bin`"));
    }
    Ok(match value {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    })
}
