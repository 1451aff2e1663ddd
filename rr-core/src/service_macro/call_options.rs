//! Options of the calls of a generated client.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rr_spi::{Error, Headers, IdempotencyKey};

/// Options of the calls of a client that `#[service]` made; see its method `with`.
///
/// Options are a value: they may be made once and used by many clients and calls.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use rr_core::CallOptions;
///
/// let options = CallOptions::new().header("x-tenant", "acme").timeout(Duration::from_millis(500));
/// ```
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Headers of each request, or the error of the first malformed one.
    pub(super) headers: Result<Headers, Error>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) timeout: Option<Duration>,
    pub(super) reply_headers: Option<ReplyHeaders>,
}

impl CallOptions {
    /// Makes options that change nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { headers: Ok(Headers::new()), key: None, timeout: None, reply_headers: None }
    }

    /// Adds a header to each request; a malformed or reserved one makes the calls fail with
    /// `InvalidArgument`, not sent.
    #[must_use]
    pub fn header(
        self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.change(|headers| headers.append(name, value))
    }

    /// Adds a header with a binary value to each request; its name ends in `-bin`.
    #[must_use]
    pub fn header_bin(self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        self.change(|headers| headers.append_bin(name, value))
    }

    /// Sets the idempotency key of each call, in place of the fresh key that a `keyed` method gets.
    ///
    /// For one call, such as one that repeats an earlier one: two calls with the same key count as
    /// the same request. Methods that are `safe` or `idempotent` need no key and send none.
    #[must_use]
    pub fn keyed(self, key: IdempotencyKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Sets the longest time of each call. Like a method's own timeout, it can only shorten the
    /// time that the context leaves. A timeout of zero makes the calls fail as `DeadlineExceeded`,
    /// not sent.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Stores the headers of each reply in `headers`.
    #[must_use]
    pub fn reply_headers(self, headers: &ReplyHeaders) -> Self {
        Self { reply_headers: Some(headers.clone()), ..self }
    }

    fn change(mut self, change: impl FnOnce(&mut Headers) -> Result<(), Error>) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            change(&mut headers)?;
            Ok(headers)
        });
        self
    }
}

impl Default for CallOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Headers of the latest reply to a client with [`CallOptions::reply_headers`]. Clones share them.
///
/// # Examples
///
/// ```
/// use rr_core::{CallOptions, call::ReplyHeaders};
///
/// let headers = ReplyHeaders::new();
/// let options = CallOptions::new().reply_headers(&headers);
/// // After a call with these options:
/// assert_eq!(headers.latest().get("x-served-by"), None);
/// ```
#[derive(Clone, Default)]
pub struct ReplyHeaders(Arc<Mutex<Headers>>);

impl ReplyHeaders {
    /// Makes a handle without headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the headers of the latest reply; those of the error if the call failed. Empty before
    /// the first reply.
    #[must_use]
    pub fn latest(&self) -> Headers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn store(&self, headers: &Headers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = headers.clone();
    }
}

impl fmt::Debug for ReplyHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplyHeaders").field(&self.latest()).finish()
    }
}
