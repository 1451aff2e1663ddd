//! The headers of a reply, for carriers whose headers are names and values.

use bytes::Bytes;

use super::error_reply::ErrorReply;
use super::{RR_CODE, RR_DEDUP, RR_DELIVERY, RR_REASON, RR_RETRY_AFTER_MS, decode_dedup};
use crate::error::{Code, Delivery, Error, Origin, Reason};
use crate::headers::{Headers, Received};
use crate::response::Response;

/// The headers of a reply as they arrive, sorted into those of ours and the application's.
///
/// For carriers whose replies have no status of their own: it is an error when the headers of ours
/// say so, which [`ErrorHeaders`](super::ErrorHeaders) writes. Others use [`ErrorReply`].
///
/// # Examples
///
/// ```
/// use rr_spi::wire::{ErrorDocument, ErrorHeaders, ReplyHead};
/// use rr_spi::{Bytes, Code, Error};
///
/// let sent = Error::new(Code::NotFound, "no such order");
/// let mut head = ReplyHead::default();
/// for (name, value) in ErrorHeaders::of(&sent).iter() {
///     head.receive(name, Bytes::copy_from_slice(value.as_bytes()));
/// }
/// let read = head.outcome(ErrorDocument::encode(&sent)).unwrap_err();
/// assert_eq!((read.code(), read.message()), (Code::NotFound, "no such order"));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReplyHead {
    headers: Headers,
    code: Vec<String>,
    reason: Vec<String>,
    delivery: Vec<String>,
    retry_after_ms: Vec<String>,
    dedup: Vec<String>,
    over_limit: bool,
}

impl ReplyHead {
    /// Takes in the next header. The value of a `-bin` name is given decoded.
    ///
    /// What belongs to a transport or does not fit the grammar is dropped.
    pub fn receive(&mut self, name: &str, value: Bytes) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let ours = if is(RR_CODE) {
            &mut self.code
        } else if is(RR_REASON) {
            &mut self.reason
        } else if is(RR_DELIVERY) {
            &mut self.delivery
        } else if is(RR_RETRY_AFTER_MS) {
            &mut self.retry_after_ms
        } else if is(RR_DEDUP) {
            &mut self.dedup
        } else {
            self.over_limit |= self.headers.receive(name, value) == Received::OverLimit;
            return;
        };
        // A third one says no more than a second, and so the list stays short.
        if ours.len() < 2 {
            ours.push(String::from_utf8_lossy(&value).into_owned());
        }
    }

    /// Returns what the reply says, with its body.
    ///
    /// # Errors
    ///
    /// The error that the reply carries, `Unknown` when its code is none of those that are known;
    /// `Internal`, processed, `bad-response`, when it has too many headers.
    pub fn outcome(self, body: Bytes) -> Result<Response, Error> {
        let Self { headers, code, reason, delivery, retry_after_ms, dedup, over_limit } = self;
        let [code, reason, delivery, retry_after_ms, dedup] =
            [&code, &reason, &delivery, &retry_after_ms, &dedup]
                .map(|values| values.iter().map(String::as_str).collect());
        let reply = ErrorReply { code, reason, delivery, retry_after_ms, dedup, headers, body };
        if reply.is_ours() {
            return Err(reply.decode(|| {
                let text = "an error with a code that is not known here";
                Error::failure(Code::Unknown, Delivery::Unknown, None, text)
                    .with_origin(Origin::Peer)
            }));
        }
        if over_limit {
            let text = "the reply has more than 64 headers or 16 KiB of them";
            let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
            return Err(Error::failure(code, Delivery::Processed, reason, text));
        }
        let dedup = decode_dedup(reply.dedup);
        Ok(Response::new(reply.body).with_headers(reply.headers).with_dedup(dedup))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::error::RetryHint;
    use crate::idempotency::Dedup;
    use crate::wire::{ErrorDocument, ErrorHeaders};

    fn read(headers: &[(&str, &str)], body: &'static str) -> Result<Response, Error> {
        let mut head = ReplyHead::default();
        for (name, value) in headers {
            head.receive(name, Bytes::copy_from_slice(value.as_bytes()));
        }
        head.outcome(body.into())
    }

    #[test]
    fn a_success_keeps_its_headers() {
        let response = read(&[("X-Shop", "berlin"), ("rr-dedup", "on")], "b").unwrap();
        assert_eq!((response.headers.get("x-shop"), response.headers.len()), (Some("berlin"), 1));
        assert_eq!((&*response.body, response.dedup()), (&b"b"[..], Some(Dedup::On)));
    }

    #[test]
    fn an_error_round_trips() {
        let mut headers = Headers::new();
        headers.insert("x-shop", "berlin").unwrap();
        let sent = Error::failure(Code::Unavailable, Delivery::NotSent, Reason::DRAINING, "bye")
            .with_retry(RetryHint::After(Duration::from_millis(20)))
            .with_headers(headers);
        let mut head = ReplyHead::default();
        for (name, value) in ErrorHeaders::of(&sent).iter() {
            head.receive(name, Bytes::copy_from_slice(value.as_bytes()));
        }
        for (name, value) in sent.headers().iter() {
            head.receive(name, value.clone());
        }
        let read = head.outcome(ErrorDocument::encode(&sent)).unwrap_err();
        assert_eq!((read.code(), read.delivery()), (sent.code(), Delivery::Rejected));
        assert_eq!((read.reason(), read.retry()), (sent.reason(), sent.retry()));
        assert_eq!((read.message(), read.headers()), (sent.message(), sent.headers()));
        assert_eq!(read.origin(), Origin::Peer);
    }

    #[test]
    fn a_code_that_is_not_known_or_repeated_is_unknown_and_nothing_is_made_up() {
        let twice = [("rr-delivery", "rejected"), ("Rr-Delivery", "rejected")];
        for (said, held) in [(&twice[..1], Delivery::Rejected), (&twice, Delivery::Unknown)] {
            for code in [
                &[("rr-code", "from_the_future")][..],
                &[("rr-code", "aborted"), ("RR-Code", "aborted")],
            ] {
                let error = read(&[code, said].concat(), "").unwrap_err();
                assert_eq!((error.code(), error.delivery()), (Code::Unknown, held));
            }
        }
    }

    #[test]
    fn too_many_headers_are_a_bad_response_but_do_not_hide_an_error() {
        let mut headers = vec![("x", "v"); 65];
        let error = read(&headers, "").unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::BAD_RESPONSE));
        headers.extend([("rr-code", "aborted"), ("rr-delivery", "processed")]);
        assert_eq!(read(&headers, "").unwrap_err().code(), Code::Aborted);
    }

    proptest! {
        #[test]
        fn receiving_never_panics(
            name in prop_oneof!["[!-~]{0,12}", Just("rr-code".into()), Just("RR-Delivery".into())],
            value in prop::collection::vec(any::<u8>(), 0..40),
            body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut head = ReplyHead::default();
            head.receive(&name, value.into());
            let _ = head.outcome(body.into());
        }
    }
}
