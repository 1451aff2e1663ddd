//! The headers of ours on a request, for carriers whose headers are names and values.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::{
    BAGGAGE, CallHeader, IDEMPOTENCY_KEY, REQUEST_ID, RR, TRACEPARENT, TRACESTATE,
    decode_idempotency_key, encode_idempotency_key,
};
use crate::attempt::Attempt;
use crate::error::{Code, Delivery, Error};
use crate::headers::{Headers, Received};
use crate::idempotency::Idempotency;
use crate::intake::Inbound;
use crate::request::Request;
use crate::target::Target;

/// The headers of ours on a request, to be written beside those of the application.
///
/// They hold what is left of the deadline, the number of retries, the idempotency, the request id,
/// the trace and the baggage. Make them right before the bytes leave: the time goes on.
///
/// # Examples
///
/// ```
/// use rr_spi::wire::RequestHeaders;
/// use rr_spi::{Attempt, Context, Idempotency, defaults};
///
/// let ctx = Context::background().with_request_id("r-17")?.with_retries(1).unbounded();
/// let attempt = Attempt::start(&ctx, defaults::CLIENT_TIMEOUT)?;
/// let headers = RequestHeaders::of(&attempt, &Idempotency::Safe);
/// let written: Vec<_> = headers.iter().collect();
/// assert_eq!(written, [("rr", "n=1;i=safe"), ("x-request-id", "r-17")]);
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHeaders<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> RequestHeaders<'a> {
    /// Returns the headers that one attempt of a request carries.
    #[must_use]
    pub fn of(attempt: &'a Attempt, idempotency: &Idempotency) -> Self {
        let ctx = attempt.context();
        let call = CallHeader {
            timeout_millis: attempt.timeout_millis(),
            sent_at_millis: None,
            retries: ctx.retries(),
            idempotency: idempotency.clone(),
        };
        let key = match idempotency {
            Idempotency::Keyed(key) => Some(encode_idempotency_key(key)),
            _ => None,
        };
        let borrowed = |value: Option<&'a str>| value.map(Cow::Borrowed);
        let all = [
            (RR, call.encode().map(Cow::Owned)),
            (IDEMPOTENCY_KEY, key.map(Cow::Owned)),
            (REQUEST_ID, borrowed(ctx.request_id())),
            (TRACEPARENT, borrowed(ctx.traceparent())),
            (TRACESTATE, borrowed(ctx.tracestate())),
            (BAGGAGE, borrowed(ctx.baggage())),
        ];
        Self(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// Returns names and values, in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}

/// The headers of a request as they arrive, sorted into those of ours and the application's.
///
/// # Examples
///
/// ```
/// use rr_spi::wire::RequestHead;
///
/// let mut head = RequestHead::default();
/// head.receive("RR", "t=250;n=1".into())?;
/// head.receive("x-shop", "berlin".into())?;
/// assert!(head.receive("rr", "t=900".into()).is_err(), "it is repeated");
/// assert_eq!(head.inbound().retries, 1);
/// let request = head.into_request("orders.place".try_into()?, "tea".into());
/// assert_eq!(request.headers.get("x-shop"), Some("berlin"));
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestHead {
    /// What the caller says of running the request twice.
    pub idempotency: Idempotency,
    /// The headers that the application sees.
    pub headers: Headers,
    call: Option<CallHeader>,
    request_id: Option<Bytes>,
    traceparent: Option<Bytes>,
    tracestate: Option<Bytes>,
    baggage: Option<Bytes>,
}

impl RequestHead {
    /// Takes in the next header. The value of a `-bin` name is given decoded.
    ///
    /// What belongs to a transport or does not fit the grammar is dropped.
    ///
    /// # Errors
    ///
    /// Rejected: `InvalidArgument` when a header of ours is malformed or repeated,
    /// `ResourceExhausted`, `request-too-large`, when there are too many.
    pub fn receive(&mut self, name: &str, value: Bytes) -> Result<(), Error> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is(RR) {
            once(RR, self.call.is_some())?;
            let call = CallHeader::decode(text(RR, &value)?)?;
            if !matches!(self.idempotency, Idempotency::Keyed(_)) {
                self.idempotency = call.idempotency.clone();
            }
            self.call = Some(call);
        } else if is(IDEMPOTENCY_KEY) {
            let is_known = matches!(self.idempotency, Idempotency::Keyed(_));
            once(IDEMPOTENCY_KEY, is_known)?;
            let key = decode_idempotency_key(text(IDEMPOTENCY_KEY, &value)?)?;
            self.idempotency = Idempotency::Keyed(key);
        } else if is(REQUEST_ID) {
            // What is only passed on is never worth a call: of these two the first counts.
            self.request_id.get_or_insert(value);
        } else if is(TRACEPARENT) {
            self.traceparent.get_or_insert(value);
        } else if is(TRACESTATE) {
            join(&mut self.tracestate, value);
        } else if is(BAGGAGE) {
            join(&mut self.baggage, value);
        } else if self.headers.receive(name, value) == Received::OverLimit {
            return Err(Headers::too_many(Delivery::Rejected));
        }
        Ok(())
    }

    /// Returns the request, once target and body are known. What becomes its context is to be taken
    /// before, with [`RequestHead::inbound`].
    #[must_use]
    pub fn into_request(self, target: Target, body: Bytes) -> Request {
        let Self { headers, idempotency, .. } = self;
        Request { target, headers, body, idempotency }
    }

    /// Returns what of it becomes the request's context.
    #[must_use]
    pub fn inbound(&self) -> Inbound<'_> {
        let call = self.call.as_ref();
        Inbound {
            timeout: call.and_then(|call| call.timeout_millis).map(Duration::from_millis),
            retries: call.map_or(0, |call| call.retries),
            request_id: carried(&self.request_id),
            traceparent: carried(&self.traceparent),
            tracestate: carried(&self.tracestate),
            baggage: carried(&self.baggage),
            arrived: None,
        }
    }
}

/// Longest list that is joined: more than either of them may have, so that it is dropped whole.
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// Adds a value to a list: a repeated one is joined by a comma in order (W3C Trace Context §3.3,
/// W3C Baggage §3.1).
fn join(list: &mut Option<Bytes>, value: Bytes) {
    *list = Some(match list.take() {
        None => value,
        Some(before) if before.len() + value.len() > JOINED_BYTES_MAX => before,
        Some(before) => [&*before, b",", &*value].concat().into(),
    });
}

/// Reads what is only passed on; what is no text is not worth a call either.
fn carried(value: &Option<Bytes>) -> Option<&str> {
    std::str::from_utf8(value.as_ref()?).ok()
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(value).map_err(|_| refused("malformed", name))
}

fn once(name: &str, is_known: bool) -> Result<(), Error> {
    if is_known { Err(refused("repeated", name)) } else { Ok(()) }
}

fn refused(how: &str, name: &str) -> Error {
    let text = format!("{how} header {name}");
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::context::Context;
    use crate::idempotency::IdempotencyKey;

    fn read(headers: &[(&str, &str)]) -> Result<RequestHead, Error> {
        let mut head = RequestHead::default();
        for (name, value) in headers {
            head.receive(name, Bytes::copy_from_slice(value.as_bytes()))?;
        }
        Ok(head)
    }

    #[test]
    fn everything_of_ours_round_trips() {
        let key = Idempotency::Keyed(IdempotencyKey::new("k\"1").unwrap());
        for idempotency in [Idempotency::Unspecified, Idempotency::Safe, key] {
            let ctx = Context::background().with_request_id("id").unwrap().with_retries(2);
            let ctx = ctx.with_trace("p", Some("s")).unwrap().with_baggage("b").unwrap();
            let attempt = Attempt::start(&ctx.unbounded(), Duration::ZERO).unwrap();
            let headers = RequestHeaders::of(&attempt, &idempotency);
            let head = read(&headers.iter().collect::<Vec<_>>()).unwrap();
            let inbound = head.inbound();
            assert_eq!((inbound.request_id, inbound.traceparent), (Some("id"), Some("p")));
            assert_eq!((inbound.tracestate, inbound.baggage), (Some("s"), Some("b")));
            assert_eq!((inbound.timeout, inbound.retries), (None, 2));
            assert_eq!(head.idempotency, idempotency);
            assert!(head.headers.is_empty());
        }
    }

    #[test]
    fn a_call_with_nothing_to_say_has_no_headers() {
        let attempt = Attempt::start(&Context::background().unbounded(), Duration::ZERO).unwrap();
        assert_eq!(RequestHeaders::of(&attempt, &Idempotency::Unspecified).iter().len(), 0);
    }

    #[test]
    fn a_key_holds_wherever_it_stands() {
        for order in [["rr", "idempotency-key"], ["idempotency-key", "rr"]] {
            let value = |name| if name == "rr" { "i=safe" } else { "k" };
            let head = read(&order.map(|name| (name, value(name)))).unwrap();
            assert_eq!(head.idempotency, Idempotency::Keyed(IdempotencyKey::new("k").unwrap()));
        }
    }

    #[test]
    fn broken_or_repeated_headers_of_ours_and_too_many_of_others_are_rejected() {
        let many = vec![("x", "v"); 65];
        for (headers, code) in [
            (&[("rr", "t=x")][..], Code::InvalidArgument),
            (&[("rr", "t=1"), ("RR", "t=1")], Code::InvalidArgument),
            (&[("Idempotency-Key", "\"")], Code::InvalidArgument),
            (&[("idempotency-key", "a"), ("idempotency-key", "a")], Code::InvalidArgument),
            (&many, Code::ResourceExhausted),
        ] {
            let error = read(headers).unwrap_err();
            assert_eq!((error.code(), error.delivery()), (code, Delivery::Rejected), "{headers:?}");
        }
        let binary = RequestHead::default().receive("rr", Bytes::from_static(b"\xff"));
        assert_eq!(binary.unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn what_is_only_passed_on_never_refuses_a_call() {
        let mut head = read(&[("baggage", "a"), ("baggage", "b"), ("nats-x", "v")]).unwrap();
        head.receive("traceparent", Bytes::from_static(b"\xff")).unwrap();
        assert_eq!((head.inbound().baggage, head.inbound().traceparent), (Some("a,b"), None));
        assert!(head.headers.is_empty());
    }

    proptest! {
        #[test]
        fn receiving_never_panics(
            name in prop_oneof!["[!-~]{0,12}", Just("rr".into()), Just("idempotency-key".into())],
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = RequestHead::default().receive(&name, value.into());
        }
    }
}
