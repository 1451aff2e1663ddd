//! Writer and reader of request headers, for all carriers whose headers are names and values
//! (docs/src/wire.md#headers).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::field::{Field, refused, text};
use super::{
    BAGGAGE, CONTENT_TYPE, CallHeader, IDEMPOTENCY_KEY, REQUEST_ID, RR, TRACEPARENT, TRACESTATE,
    decode_idempotency_key, encode_idempotency_key,
};
use crate::context::Context;
use crate::error::{Delivery, Error};
use crate::headers::{Headers, Received, has_upper_case, rules};
use crate::idempotency::Idempotency;
use crate::inbound::Inbound;
use crate::request::Request;
use crate::target::Target;

/// Headers that rr itself adds to a request.
///
/// They carry the remaining time, the number of retries, the idempotency, the criticality, the
/// request id, the trace and the baggage. The application's headers come from [`Headers::encoded`].
///
/// # Examples
///
/// ```
/// use rr_spi::wire::RequestHeaders;
/// use rr_spi::{Context, Idempotency};
///
/// let ctx = Context::background().with_request_id("r-17")?.with_retries(1);
/// let headers = RequestHeaders::new(&ctx, &Idempotency::Safe).with_timeout_millis(Some(250));
/// let written: Vec<_> = headers.iter().collect();
/// assert_eq!(written[0], ("rr", "t=250;n=1;i=safe".into()));
/// assert_eq!(written[1], ("x-request-id", "r-17".into()));
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestHeaders<'a> {
    ctx: &'a Context,
    idempotency: &'a Idempotency,
    call: CallHeader,
}

impl<'a> RequestHeaders<'a> {
    /// Makes the headers of an attempt, without the remaining time.
    #[must_use]
    pub fn new(ctx: &'a Context, idempotency: &'a Idempotency) -> Self {
        // A key travels in the header `idempotency-key`.
        let stated = match idempotency {
            Idempotency::Keyed(_) => Idempotency::Unspecified,
            other => other.clone(),
        };
        let call = CallHeader {
            retries: ctx.retries(),
            idempotency: stated,
            wants_spent: ctx.wants_spent(),
            criticality: ctx.criticality(),
            ..CallHeader::default()
        };
        Self { ctx, idempotency, call }
    }

    /// Sets the remaining time in milliseconds; `None` without a deadline.
    ///
    /// Carriers with a separate header for the time do not call this method.
    #[must_use]
    pub fn with_timeout_millis(mut self, millis: Option<u64>) -> Self {
        self.call.timeout_millis = millis;
        self
    }

    /// Sets the time of sending in Unix milliseconds, where the clocks of both ends agree.
    #[must_use]
    pub fn with_sent_at_millis(mut self, millis: Option<u64>) -> Self {
        self.call.sent_at_millis = millis;
        self
    }

    /// Returns names and values, in order; empty if no value is set.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
        let key = match self.idempotency {
            Idempotency::Keyed(key) => Some(Cow::Owned(encode_idempotency_key(key))),
            _ => None,
        };
        let ctx = self.ctx;
        [
            (RR, self.call.encode().map(Cow::Owned)),
            (IDEMPOTENCY_KEY, key),
            (REQUEST_ID, ctx.request_id().map(Cow::Borrowed)),
            (TRACEPARENT, ctx.traceparent().map(Cow::Borrowed)),
            (TRACESTATE, ctx.tracestate().map(Cow::Borrowed)),
            (BAGGAGE, ctx.baggage().map(Cow::Borrowed)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Received headers of a request, split into rr's own and the application's.
///
/// Values borrow from the transport's message.
///
/// # Examples
///
/// ```
/// use rr_spi::wire::RequestHead;
///
/// let mut head = RequestHead::default();
/// head.receive("RR", b"t=250;n=1")?;
/// head.receive("x-shop", b"berlin")?;
/// assert_eq!(head.inbound().retries, 1);
/// let request = head.into_request("orders.place".try_into()?, "tea".into());
/// assert_eq!(request.headers.get("x-shop"), Some("berlin"));
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The headers that the application sees.
    pub headers: Headers,
    /// Whether the request may run more than once.
    pub idempotency: Idempotency,
    /// Number of headers that were dropped because they do not fit the grammar.
    pub dropped: u64,
    call: CallHeader,
    rr: Field<'a>,
    key: Field<'a>,
    request_id: Option<&'a str>,
    traceparent: Option<&'a str>,
    tracestate: List<'a>,
    baggage: List<'a>,
}

impl<'a> RequestHead<'a> {
    /// Receives the next header in its wire form: the value of a `-bin` name is base64.
    ///
    /// Names are case-insensitive. Headers that belong to a transport or do not fit the grammar are
    /// dropped. Of a repeated request id or `traceparent`, the first value counts; `tracestate` and
    /// `baggage` are joined in order (W3C Trace Context §3.3.1, W3C Baggage §3.3).
    ///
    /// # Errors
    ///
    /// Rejected: `InvalidArgument` when a header of rr is malformed or repeated, or `content-type`
    /// is repeated; `ResourceExhausted`, `request-too-large`, when there are more than 64 headers
    /// or 16 KiB.
    pub fn receive(&mut self, name: &str, value: &'a [u8]) -> Result<(), Error> {
        match name {
            RR => self.read_call(value)?,
            IDEMPOTENCY_KEY => self.read_key(value)?,
            REQUEST_ID => self.request_id = self.request_id.or_else(|| text(value)),
            TRACEPARENT => self.traceparent = self.traceparent.or_else(|| text(value)),
            TRACESTATE => self.tracestate.append(value),
            BAGGAGE => self.baggage.append(value),
            _ if rules::is_reserved(name) => {}
            _ if has_upper_case(name) => self.receive(&name.to_ascii_lowercase(), value)?,
            CONTENT_TYPE if self.headers.contains(CONTENT_TYPE) => {
                return Err(refused("repeated", CONTENT_TYPE));
            }
            _ => match self.headers.receive_encoded(name, value) {
                Received::OverLimit => return Err(Headers::too_many(Delivery::Rejected)),
                Received::Dropped => self.dropped += 1,
                Received::Kept | Received::Reserved => {}
            },
        }
        Ok(())
    }

    fn read_call(&mut self, value: &'a [u8]) -> Result<(), Error> {
        self.rr.add(value);
        if let Some(text) = self.rr.required_once(RR)? {
            self.call = CallHeader::decode(text)?;
        }
        if self.idempotency == Idempotency::Unspecified {
            self.idempotency = self.call.idempotency.clone();
        }
        Ok(())
    }

    fn read_key(&mut self, value: &'a [u8]) -> Result<(), Error> {
        self.key.add(value);
        if let Some(text) = self.key.required_once(IDEMPOTENCY_KEY)? {
            self.idempotency = Idempotency::Keyed(decode_idempotency_key(text)?);
        }
        Ok(())
    }

    /// Returns the time of sending in Unix milliseconds, if the request states it.
    #[must_use]
    pub fn sent_at_millis(&self) -> Option<u64> {
        self.call.sent_at_millis
    }

    /// Returns the part of the headers that becomes the request's context.
    #[must_use]
    pub fn inbound(&self) -> Inbound<'_> {
        let mut inbound = Inbound::new(self.call.timeout_millis.map(Duration::from_millis));
        inbound.retries = self.call.retries;
        inbound.wants_spent = self.call.wants_spent;
        inbound.criticality = self.call.criticality;
        inbound.request_id = self.request_id;
        inbound.traceparent = self.traceparent;
        inbound.tracestate = self.tracestate.text();
        inbound.baggage = self.baggage.text();
        inbound
    }

    /// Converts the head into a request, once target and body are known.
    ///
    /// Call [`RequestHead::inbound`] before.
    #[must_use]
    pub fn into_request(self, target: Target, body: Bytes) -> Request {
        let Self { headers, idempotency, .. } = self;
        Request { target, headers, body, idempotency }
    }
}

/// Longest joined list in bytes: more than W3C allows for either list, so that the context drops a
/// longer list as a whole.
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// Values of a header that is a list. A single value is not copied.
#[derive(Clone, Debug, Default)]
enum List<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    /// One of the values is not text or the list is too long, so that no value counts.
    Broken,
}

impl<'a> List<'a> {
    fn append(&mut self, value: &'a [u8]) {
        *self = match (std::mem::take(self), text(value)) {
            (Self::Absent, Some(value)) => Self::Text(Cow::Borrowed(value)),
            (Self::Text(list), Some(value)) if list.len() + value.len() <= JOINED_BYTES_MAX => {
                Self::Text(Cow::Owned(format!("{list},{value}")))
            }
            _ => Self::Broken,
        };
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(list) => Some(list),
            Self::Absent | Self::Broken => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::context::Criticality;
    use crate::error::Code;
    use crate::idempotency::IdempotencyKey;

    fn read<'a>(headers: &[(&str, &'a str)]) -> Result<RequestHead<'a>, Error> {
        let mut head = RequestHead::default();
        for (name, value) in headers {
            head.receive(name, value.as_bytes())?;
        }
        Ok(head)
    }

    #[test]
    fn every_header_of_rr_round_trips() {
        let key = Idempotency::Keyed(IdempotencyKey::new("k\"1").unwrap());
        for idempotency in [Idempotency::Unspecified, Idempotency::Safe, key] {
            let ctx = Context::background().with_request_id("id").unwrap().with_retries(2);
            let ctx = ctx.with_trace("p", Some("s")).unwrap().with_baggage("b").unwrap();
            let ctx = ctx.with_criticality(Criticality::SheddablePlus);
            let headers = RequestHeaders::new(&ctx, &idempotency).with_timeout_millis(Some(7));
            let headers: Vec<_> = headers.iter().collect();
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            let head = read(&headers).unwrap();
            let inbound = head.inbound();
            assert_eq!((inbound.request_id, inbound.traceparent), (Some("id"), Some("p")));
            assert_eq!((inbound.tracestate, inbound.baggage), (Some("s"), Some("b")));
            assert_eq!((inbound.timeout, inbound.retries), (Some(Duration::from_millis(7)), 2));
            assert_eq!(inbound.criticality, Criticality::SheddablePlus);
            assert_eq!(head.idempotency, idempotency);
            assert!(head.headers.is_empty());
        }
    }

    #[test]
    fn a_request_without_options_has_no_headers() {
        let (ctx, idempotency) = (Context::background(), Idempotency::Unspecified);
        assert_eq!(RequestHeaders::new(&ctx, &idempotency).iter().count(), 0);
    }

    #[test]
    fn a_key_takes_precedence_in_either_order() {
        for order in [["rr", "idempotency-key"], ["idempotency-key", "rr"]] {
            let value = |name| if name == "rr" { "i=safe" } else { "k" };
            let head = read(&order.map(|name| (name, value(name)))).unwrap();
            assert_eq!(head.idempotency, Idempotency::Keyed(IdempotencyKey::new("k").unwrap()));
        }
    }

    #[test]
    fn malformed_or_repeated_headers_of_rr_and_too_many_headers_are_rejected() {
        let many = vec![("x", "v"); 65];
        for (headers, code) in [
            (&[("rr", "t=x")][..], Code::InvalidArgument),
            (&[("rr", "t=1"), ("RR", "t=1")], Code::InvalidArgument),
            (&[("Idempotency-Key", "\"")], Code::InvalidArgument),
            (&[("idempotency-key", "a"), ("idempotency-key", "a")], Code::InvalidArgument),
            (&[("rr", "t=1ü")], Code::InvalidArgument),
            (&[("content-type", "a/b"), ("Content-Type", "a/b")], Code::InvalidArgument),
            (&many, Code::ResourceExhausted),
        ] {
            let error = read(headers).unwrap_err();
            assert_eq!((error.code(), error.delivery()), (code, Delivery::Rejected), "{headers:?}");
        }
    }

    #[test]
    fn headers_that_are_only_passed_on_never_refuse_a_request() {
        let mut head = read(&[("baggage", "a"), ("Baggage", "b"), ("nats-x", "v")]).unwrap();
        head.receive("traceparent", b"\xff").unwrap();
        head.receive("tracestate", b"a=1").unwrap();
        head.receive("x-request-id", b"1").unwrap();
        head.receive("X-Request-Id", b"2").unwrap();
        let inbound = head.inbound();
        assert_eq!((inbound.baggage, inbound.traceparent), (Some("a,b"), None));
        assert_eq!((inbound.tracestate, inbound.request_id), (Some("a=1"), Some("1")));
        head.receive("tracestate", b"\xff").unwrap();
        head.receive("tracestate", b"b=2").unwrap();
        assert_eq!(head.inbound().tracestate, None);
        assert!(head.headers.is_empty());
    }

    #[test]
    fn one_value_of_a_list_is_not_copied_and_an_endless_list_is_dropped() {
        let mut list = List::default();
        list.append(b"a=1");
        assert!(matches!(list, List::Text(Cow::Borrowed("a=1"))));
        let long = "v".repeat(JOINED_BYTES_MAX);
        list.append(long.as_bytes());
        assert_eq!(list.text(), None);
    }

    #[test]
    fn only_names_and_values_outside_the_grammar_are_counted() {
        let mut head =
            read(&[("x_under", "v"), ("x-bin", "%%%"), ("nats-x", "v"), ("X-Upper", "v")]).unwrap();
        head.receive("x-latin", b"caf\xe9").unwrap();
        assert_eq!((head.dropped, head.headers.len()), (3, 1));
        assert_eq!(head.headers.get("x-upper"), Some("v"));
    }

    proptest! {
        #[test]
        fn receiving_never_panics(
            name in prop_oneof!["[!-~]{0,12}", Just("rr".into()), Just("idempotency-key".into())],
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut head = RequestHead::default();
            let _ = head.receive(&name, &value);
            let _ = head.receive(&name, &value);
        }
    }
}
