//! The error type: its code, and whether the handler may have run.

mod account;
mod attempts;
mod code;
mod delivery;
mod detail;
mod display;
mod hints;
mod reason;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;

use crate::dedup::Dedup;
use crate::defaults;
use crate::headers::{CONTENT_TYPE, Headers};
use crate::timeline::Timeline;

pub(crate) use account::account_of;
pub use attempts::{AttemptRecord, RetryDecision};
pub use code::Code;
pub use delivery::{Delivery, Origin, RetryHint};
pub use detail::Detail;
pub use reason::Reason;

/// Error of a call: its code, and whether the handler may have run.
///
/// Handlers make errors with [`Error::new`]; transports and middleware use [`Error::failure`],
/// which states the [`Delivery`].
///
/// A failure that leaves a handler by `?` is re-scoped: it keeps a code that is meaningful one hop
/// further, and loses its reason, message, details, headers and every retry hint but
/// [`RetryHint::Never`]. Nothing of the downstream leaks, and nothing claims that *this* handler
/// did not run. The error of a call that leaves a server's middleware is re-scoped too; a failure
/// that the middleware itself made passes unchanged.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use rr_core::{Code, Delivery, Error};
///
/// let error = Error::new(Code::NotFound, "no order 17");
/// assert_eq!(error.code(), Code::NotFound);
/// assert_eq!(error.delivery(), Delivery::Processed);
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    delivery: Delivery,
    origin: Origin,
    retry: RetryHint,
    made: Made,
    exposed: bool,
    dedup: Option<Dedup>,
    reason: Option<Reason>,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    details: Vec<Detail>,
    headers: Headers,
    attempts: Vec<AttemptRecord>,
    timeline: Option<Timeline>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Maker of an error, as far as re-scoping distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// A handler or a middleware, as its own reply.
    Own,
    /// A transport or a middleware, which states the delivery.
    Failure,
    /// A call made by this process: another service returned the error, or could not be reached.
    Called,
}

impl Error {
    /// Makes a handler's own error; its delivery is `Processed`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            delivery: Delivery::Processed,
            origin: Origin::Local,
            retry: RetryHint::Unset,
            made: Made::Own,
            exposed: false,
            dedup: None,
            reason: None,
            message: message.into(),
            hint: None,
            details: Vec::new(),
            headers: Headers::new(),
            attempts: Vec::new(),
            timeline: None,
            source: None,
        }))
    }

    /// Makes an error of a transport or a middleware, which states its delivery.
    ///
    /// The error carries a private mark for re-scoping. Its retry hint is [`RetryHint::Never`] if
    /// the reason makes a retry useless.
    pub fn failure(
        code: Code,
        delivery: Delivery,
        reason: impl Into<Option<Reason>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = Self::new(code, message);
        error.0.delivery = delivery;
        error.0.made = Made::Failure;
        error.0.reason = reason.into();
        if error.0.reason.as_ref().is_some_and(Reason::forbids_retry) {
            error.0.retry = RetryHint::Never;
        }
        error
    }

    /// Makes the error for a value that its user made and that does not fit: nothing was sent.
    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
    }

    /// Sets the reason token, and [`RetryHint::Never`] if the reason makes a retry useless.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        if reason.forbids_retry() {
            self.0.retry = RetryHint::Never;
        }
        self.0.reason = Some(reason);
        self
    }

    /// Raises the delivery to at least this value; never lowers it.
    ///
    /// For code that knows more about the run than the maker of the error.
    #[must_use]
    pub fn raised_to(mut self, delivery: Delivery) -> Self {
        self.0.delivery = self.0.delivery.max(delivery);
        self
    }

    /// Adds a typed detail.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.0.details.push(detail);
        self
    }

    /// Replaces the headers of the error.
    ///
    /// A `content-type` is removed: the body is always the error body.
    #[must_use]
    pub fn with_headers(mut self, mut headers: Headers) -> Self {
        headers.remove(CONTENT_TYPE);
        self.0.headers = headers;
        self
    }

    /// Sets the retry hint.
    ///
    /// Its time is rounded up to whole milliseconds, and more than 300 s count as
    /// [`RetryHint::Never`], as on every wire.
    ///
    /// A handler that returns `ResourceExhausted` with [`RetryHint::After`] guarantees that it has
    /// done nothing yet: even requests that must not run twice are then retried.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryHint) -> Self {
        self.0.retry = retry.on_the_wire();
        self
    }

    /// Sets the duplicate suppression of the responder; see [`Response::with_dedup`].
    ///
    /// [`Response::with_dedup`]: crate::Response::with_dedup
    #[must_use]
    pub fn with_dedup(mut self, dedup: impl Into<Option<Dedup>>) -> Self {
        self.0.dedup = dedup.into();
        self
    }

    /// Sets where the error was made.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.0.origin = origin;
        self
    }

    /// Sets the underlying error for logs; it never travels.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Sets an underlying error that is shared already; otherwise as [`Error::with_source`].
    #[must_use]
    pub fn with_shared_source(mut self, source: Arc<dyn StdError + Send + Sync>) -> Self {
        self.0.source = Some(source);
        self
    }

    /// Replaces the hint, a line that a person can act on.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Exposes the message of a downstream's failure to this handler's caller.
    ///
    /// Only the message is exposed; code, delivery, details and headers are still re-scoped.
    #[must_use]
    pub fn expose(mut self) -> Self {
        self.0.exposed = true;
        self
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Returns whether the handler may have run.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// Returns where the error was made.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Returns the reason token, which distinguishes errors of the same code.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        self.0.reason.as_ref()
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the typed details.
    #[must_use]
    pub fn details(&self) -> &[Detail] {
        &self.0.details
    }

    /// Returns the headers that were received, or will be sent, with the error.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// Returns the retry hint.
    #[must_use]
    pub fn retry(&self) -> RetryHint {
        self.0.retry
    }

    /// Returns the duplicate suppression that the responder stated.
    ///
    /// `None` when it stated none; a second request may then run again.
    #[must_use]
    pub fn dedup(&self) -> Option<Dedup> {
        self.0.dedup
    }

    /// Returns the records of the attempts, oldest first; empty unless a retry layer set them.
    #[must_use]
    pub fn attempts(&self) -> &[AttemptRecord] {
        &self.0.attempts
    }

    /// Returns one line that a person can act on.
    #[must_use]
    pub fn hint(&self) -> &str {
        match &self.0.hint {
            Some(hint) => hint,
            None => hints::hint(self.0.code, self.0.reason.as_ref()),
        }
    }

    /// Returns the stable identifier of this kind of error, such as `RR0114`.
    #[must_use]
    pub fn id(&self) -> &'static str {
        hints::id(self.0.code, self.0.reason.as_ref())
    }

    /// Converts the error into the form that the caller on the other side of a hop sees.
    ///
    /// For transports that pass errors by value. A local error becomes the peer's. The error is
    /// marked as by [`Error::into_failure`] and loses the parts that never travel (source,
    /// attempts, hint). `NotSent` becomes `Rejected`, the message is cut at 1 KiB and details at 8
    /// KiB, as on every wire.
    #[must_use]
    pub fn into_received(self) -> Self {
        let mut error = self.capped();
        error.0.made = Made::Called;
        error.0.exposed = false;
        error.0.source = None;
        error.0.hint = None;
        error.0.attempts = Vec::new();
        error.0.timeline = None;
        if error.0.origin == Origin::Local {
            error.0.origin = Origin::Peer;
        }
        if error.0.delivery == Delivery::NotSent {
            error.0.delivery = Delivery::Rejected;
        }
        error
    }

    /// Copies headers and details out of their receive buffers; drops source and attempts.
    ///
    /// For code that stores errors: without this, an error may keep a whole reply in memory.
    #[must_use]
    pub fn compacted(mut self) -> Self {
        self.0.headers = self.0.headers.compacted();
        for detail in &mut self.0.details {
            detail.value = Bytes::copy_from_slice(&detail.value);
        }
        self.0.source = None;
        self.0.attempts = Vec::new();
        self.0.timeline = None;
        self
    }

    /// Cuts message and details to the limits of the wire.
    pub(crate) fn capped(mut self) -> Self {
        let limit = defaults::ERROR_MESSAGE_BYTES_MAX;
        if self.0.message.len() > limit {
            let end = (0..=limit).rev().find(|&at| self.0.message.is_char_boundary(at));
            self.0.message.to_mut().truncate(end.unwrap_or(0));
        }
        let size = |details: &[Detail]| -> usize {
            details.iter().map(|detail| detail.kind.len() + detail.value.len()).sum()
        };
        while size(&self.0.details) > defaults::ERROR_DETAIL_BYTES_MAX {
            self.0.details.pop();
        }
        self
    }

    /// Returns whether a transport, a middleware or a peer made this error.
    pub(crate) fn is_failure(&self) -> bool {
        self.0.made != Made::Own
    }

    /// Returns whether this error is the outcome of a call that this process made.
    pub(crate) fn is_called(&self) -> bool {
        self.0.made == Made::Called
    }

    /// Marks the error of a call as this process's own reply, which is not re-scoped.
    pub(crate) fn passed_on(mut self) -> Self {
        if self.0.made == Made::Called {
            self.0.made = Made::Failure;
        }
        self
    }

    pub(crate) fn is_exposed(&self) -> bool {
        self.0.exposed
    }

    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.0.message = message.into();
        self
    }

    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    /// Marks the error as the outcome of a call, so that it is re-scoped when it leaves a handler
    /// or a server's middleware by `?`.
    ///
    /// For requesters that do not use [`Attempt`](crate::Attempt), which sets this mark.
    #[must_use]
    pub fn into_failure(mut self) -> Self {
        self.0.made = Made::Called;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), 8);
    }

    #[test]
    fn long_message_is_cut_on_a_character_boundary() {
        let error = Error::new(Code::Internal, "é".repeat(600)).capped();
        assert_eq!(error.message().len(), 1024);
        let error = Error::new(Code::Internal, format!("x{}", "é".repeat(600))).capped();
        assert_eq!(error.message().len(), 1023);
    }

    #[test]
    fn details_are_dropped_whole_and_last_first() {
        let error = Error::new(Code::Internal, "")
            .with_detail(Detail::new("a", vec![0; 5000]))
            .with_detail(Detail::new("b", vec![0; 5000]))
            .capped();
        assert_eq!(error.details().len(), 1);
        assert_eq!(error.details()[0].kind, "a");
    }

    #[test]
    fn display_is_one_line_with_reason_and_delivery() {
        let error = Error::failure(
            Code::Unavailable,
            Delivery::NotSent,
            Reason::CONNECT_FAILED,
            "connection refused",
        );
        assert_eq!(error.to_string(), "unavailable/connect-failed (not_sent): connection refused");
    }

    #[test]
    fn a_delivery_is_raised_and_never_lowered() {
        let refused = Error::failure(Code::Unavailable, Delivery::Rejected, None, "");
        assert_eq!(refused.clone().raised_to(Delivery::Processed).delivery(), Delivery::Processed);
        assert_eq!(refused.raised_to(Delivery::NotSent).delivery(), Delivery::Rejected);
    }

    #[test]
    fn reasons_that_forbid_a_retry_carry_never() {
        let error =
            Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CLOSED, "closed already");
        assert_eq!(error.retry(), RetryHint::Never);
    }
}
