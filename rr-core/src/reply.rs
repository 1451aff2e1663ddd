//! Reply of a typed method: its value and its headers.

use std::borrow::Cow;

use bytes::Bytes;
use rr_spi::{Code, Error, Headers, wire};

/// Reply of a typed method: its value and its headers.
///
/// A handler returns a `Reply<T>` instead of a `T` to set headers. A typed call returns one after
/// [`Call::reply`](crate::call::Call::reply).
///
/// # Examples
///
/// ```
/// use rr_core::{CallError, Context, Error, Local, Reply, RequesterExt, Router};
///
/// async fn take(count: u32) -> Result<Reply<u32>, Error> {
///     Ok(Reply::new(count).header("x-left", "7"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), CallError> {
/// let local = Local::new(Router::new().route("stock.take", take));
/// let reply: Reply<u32> = local.call(&Context::background(), "stock.take", &3).reply().await?;
/// assert_eq!(reply.headers().get("x-left"), Some("7"));
/// assert_eq!(reply.into_value(), 3);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Reply<T> {
    value: T,
    headers: Headers,
    /// First header that was refused; the reply then becomes an error.
    invalid: Option<Error>,
    /// Whether `content-type` describes the body that this reply was decoded from.
    has_received_type: bool,
}

impl<T> Reply<T> {
    /// Makes a reply without headers.
    pub const fn new(value: T) -> Self {
        Self { value, headers: Headers::new(), invalid: None, has_received_type: false }
    }

    pub(crate) const fn received(value: T, headers: Headers) -> Self {
        Self { value, headers, invalid: None, has_received_type: true }
    }

    /// Adds a header. If it is malformed or reserved, or exceeds the limits of [`Headers`], the
    /// method fails as `Internal`, processed.
    #[must_use]
    pub fn header(
        self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let name = name.into();
        let mut reply = self;
        if reply.has_received_type && name.eq_ignore_ascii_case(wire::CONTENT_TYPE) {
            reply.headers.remove(wire::CONTENT_TYPE);
            reply.has_received_type = false;
        }
        reply.change(|headers| headers.append(name, value))
    }

    /// Adds a header with a binary value; its name ends in `-bin`. Otherwise as [`Reply::header`].
    #[must_use]
    pub fn header_bin(self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        self.change(|headers| headers.append_bin(name, value))
    }

    fn change(mut self, change: impl FnOnce(&mut Headers) -> Result<(), Error>) -> Self {
        if let Err(error) = change(&mut self.headers) {
            self.invalid.get_or_insert(error);
        }
        self
    }

    /// Returns the value.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Returns the headers. A received reply has those of the responder. Its `content-type` is there if
    /// the transport carried one; it is not passed on when a handler returns the reply.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the value without the headers.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Replaces the value and keeps the headers.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Reply<U> {
        let Self { value, headers, invalid, has_received_type } = self;
        Reply { value: map(value), headers, invalid, has_received_type }
    }

    /// Returns the value and the headers; fails if a header was refused.
    pub(crate) fn checked(self) -> Result<(T, Headers), Error> {
        let mut headers = self.headers;
        if self.has_received_type {
            headers.remove(wire::CONTENT_TYPE);
        }
        match self.invalid {
            None => Ok((self.value, headers)),
            Some(error) => {
                let text = format!("a header of the reply is invalid: {}", error.message());
                Err(Error::new(Code::Internal, text).with_source(error))
            }
        }
    }
}

impl<T> From<T> for Reply<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
