//! The header block of a request.

use std::time::Duration;

use async_nats::HeaderMap;
use rr_spi::wire::{RR, RequestHead, RequestHeaders};
use rr_spi::{Context, Error, Inbound, Request, defaults};

use super::headers::{put, put_all, put_plain, sorted};

/// Longest plausible time in queues: the longest timeout that a server grants by default. A
/// request that seems older comes from a wrong clock.
const AGE_MAX: Duration = defaults::SERVER_TIMEOUT_MAX;

/// Returns the header block of a request; `None` if it would be empty.
///
/// `sent_at_millis` is written only with a timeout: it is the time from which the timeout counts.
pub(crate) fn encode_request(
    ctx: &Context,
    request: &Request,
    timeout_millis: Option<u64>,
    sent_at_millis: Option<u64>,
) -> Option<HeaderMap> {
    let headers = RequestHeaders::new(ctx, &request.idempotency)
        .with_timeout_millis(timeout_millis)
        .with_sent_at_millis(sent_at_millis.filter(|_| timeout_millis.is_some()));
    let mut map = None;
    for (name, value) in headers.iter() {
        match name {
            RR => put_plain(&mut map, RR, value.into_owned()),
            name => put(&mut map, name, &value),
        }
    }
    put_all(&mut map, &request.headers);
    map
}

/// Returns the parts of a request's headers that make its context. If clocks agree, `now_millis` is
/// the wall clock, and the time since the request was sent is subtracted from its timeout.
pub(crate) fn inbound<'a>(head: &'a RequestHead<'_>, now_millis: Option<u64>) -> Inbound<'a> {
    let mut inbound = head.inbound();
    if let (Some(sent_at), Some(now)) = (head.sent_at_millis(), now_millis) {
        let spent = spent(sent_at, now);
        inbound.timeout = inbound.timeout.map(|timeout| timeout.saturating_sub(spent));
    }
    inbound
}

/// Returns the time since a request was sent, never too long: both instants are truncated to
/// milliseconds, so that their difference may be 1 ms too long and is reduced by 1 ms. Returns zero
/// for a send time in the future or more than [`AGE_MAX`] ago: the clocks do not agree, which must
/// not end a call.
fn spent(sent_at_millis: u64, now_millis: u64) -> Duration {
    let spent = now_millis.saturating_sub(sent_at_millis).saturating_sub(1);
    Some(Duration::from_millis(spent)).filter(|spent| *spent <= AGE_MAX).unwrap_or_default()
}

/// Reads the header block of a request.
///
/// # Errors
///
/// As [`RequestHead::receive`].
pub(crate) fn decode_request(map: &HeaderMap) -> Result<RequestHead<'_>, Error> {
    let mut head = RequestHead::default();
    for (name, value) in sorted(map) {
        head.receive(name, value.as_str().as_bytes())?;
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::{Code, Delivery, Headers, Idempotency, IdempotencyKey, Target};

    use super::*;

    fn request() -> Request {
        Request::new(Target::try_from("t").unwrap(), "")
    }

    #[test]
    fn a_header_of_ours_in_two_cases_is_repeated() {
        for (name, folded, value) in
            [("rr", "RR", "t=1"), ("idempotency-key", "Idempotency-Key", "a")]
        {
            let mut map = HeaderMap::new();
            map.insert(name, value);
            assert!(decode_request(&map).is_ok());
            map.insert(folded, value);
            let error = decode_request(&map).unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::InvalidArgument, Delivery::Rejected)
            );
        }
    }

    #[test]
    fn what_the_context_takes_over_is_kept_whole_in_whatever_case_it_comes() {
        let mut map = HeaderMap::new();
        for (name, value) in [("X-Request-Id", "a"), ("Traceparent", "p"), ("Baggage", "k=1")] {
            map.insert(name, value);
            map.insert(name.to_lowercase(), value.replace(['1', 'a', 'p'], "2"));
        }
        map.append("tracestate", "s=1");
        map.append("tracestate", "t=2");
        let head = decode_request(&map).unwrap();
        let inbound = inbound(&head, None);
        assert_eq!((inbound.request_id, inbound.traceparent), (Some("a"), Some("p")));
        assert_eq!((inbound.baggage, inbound.tracestate), (Some("k=1,k=2"), Some("s=1,t=2")));
    }

    #[test]
    fn a_plain_request_without_a_deadline_has_no_header_and_with_one_has_one() {
        let ctx = Context::background();
        assert!(encode_request(&ctx, &request(), None, Some(7)).is_none());
        let map = encode_request(&ctx.with_retries(1), &request(), Some(20), None).unwrap();
        assert_eq!(map.len(), 1);
        assert_eq!(map.get(RR).unwrap().as_str(), "t=20;n=1");
    }

    /// Returns the remaining timeout of a call with this header at `now`, in milliseconds.
    fn left(text: &str, now_millis: Option<u64>) -> Option<u64> {
        let mut map = HeaderMap::new();
        map.insert(RR, text);
        let left = inbound(&decode_request(&map).unwrap(), now_millis).timeout?;
        Some(u64::try_from(left.as_millis()).unwrap())
    }

    #[test]
    fn time_in_queues_is_taken_off_only_where_clocks_agree() {
        let map = encode_request(&Context::background(), &request(), Some(500), Some(1000));
        let text = map.unwrap().get(RR).unwrap().as_str().to_owned();
        assert_eq!(text, "t=500;at=1000");
        assert_eq!(left(&text, None), Some(500));
        assert_eq!(left(&text, Some(1101)), Some(400));
        assert_eq!(left("t=500", Some(1100)), Some(500));
        assert_eq!(left("at=1000", Some(1100)), None);
    }

    #[test]
    fn a_wrong_clock_ends_no_call_and_expired_means_that_the_time_has_passed() {
        let text = "t=500;at=1000000";
        assert_eq!(left(text, Some(1)), Some(500), "in the future");
        assert_eq!(left(text, Some(u64::MAX)), Some(500), "ages ago");
        assert_eq!(left(text, Some(1_000_500)), Some(1), "up to a millisecond may be left");
        assert_eq!(left(text, Some(1_000_501)), Some(0));
        assert_eq!(left(text, Some(1_300_001)), Some(0));
        assert_eq!(left(text, Some(1_300_002)), Some(500));
    }

    #[test]
    fn everything_of_ours_round_trips_and_names_are_folded() {
        let key = IdempotencyKey::new("k\"1").unwrap();
        let mut headers = Headers::new();
        headers.append("x-tag", "b").unwrap();
        headers.append("x-tag", "a").unwrap();
        headers.append_bin("sig-bin", vec![0, 13, 10]).unwrap();
        let sent =
            request().with_headers(headers).with_idempotency(Idempotency::Keyed(key.clone()));
        let ctx = Context::background().with_request_id("id").unwrap();
        let ctx = ctx.with_trace("p", Some("s")).unwrap().with_baggage("b").unwrap();
        let mut map = encode_request(&ctx, &sent, None, None).unwrap();
        map.insert("X-Upper", "v");
        map.insert("under_score", "v");
        map.insert("Nats-Msg-Id", "v");
        let head = decode_request(&map).unwrap();
        let inbound = inbound(&head, None);
        assert_eq!((inbound.request_id, inbound.traceparent), (Some("id"), Some("p")));
        assert_eq!((inbound.tracestate, inbound.baggage), (Some("s"), Some("b")));
        assert_eq!(head.idempotency, Idempotency::Keyed(key));
        assert_eq!(head.headers.get_all("x-tag").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(head.headers.get_bin("sig-bin").unwrap()[..], [0, 13, 10]);
        assert_eq!(head.headers.get("x-upper"), Some("v"));
        assert_eq!((head.headers.len(), head.dropped), (4, 1));
    }

    #[test]
    fn broken_headers_of_ours_and_too_many_of_others_are_rejected() {
        for (name, value) in [("rr", "t=x"), ("RR", "t=1;t=1"), ("Idempotency-Key", "\"")] {
            let mut map = HeaderMap::new();
            map.insert(name, value);
            let error = decode_request(&map).unwrap_err();
            let expected = (Code::InvalidArgument, Delivery::Rejected);
            assert_eq!((error.code(), error.delivery()), expected);
        }
        let mut map = HeaderMap::new();
        map.append("rr", "t=1");
        map.append("rr", "t=1");
        assert_eq!(decode_request(&map).unwrap_err().code(), Code::InvalidArgument);
        let mut map = HeaderMap::new();
        for _ in 0..65 {
            map.append("x", "v");
        }
        let error = decode_request(&map).unwrap_err();
        let expected = (Code::ResourceExhausted, Delivery::Rejected);
        assert_eq!((error.code(), error.delivery()), expected);
    }

    proptest! {
        #[test]
        fn no_clock_gives_time_or_takes_more_than_has_passed(
            timeout in 0u64..10_000,
            sent_micros in 0u64..10_000_000_000,
            took_micros in 0u64..20_000_000,
            skew_millis in prop_oneof![Just(0i64), -1_000_000_000..1_000_000_000i64],
        ) {
            let text = format!("t={timeout};at={}", sent_micros / 1000);
            let now = ((sent_micros + took_micros) / 1000).saturating_add_signed(skew_millis);
            let left = left(&text, Some(now)).unwrap();
            prop_assert!(left <= timeout);
            if skew_millis <= 0 {
                prop_assert!(left * 1000 + took_micros >= timeout * 1000);
            }
            if skew_millis == 0 && took_micros > (timeout + 1) * 1000 {
                prop_assert_eq!(left, 0);
            }
        }

        #[test]
        fn reading_never_panics(name in "[!-9;-~]{1,12}", value in "[^\r\n]{0,20}") {
            let mut map = HeaderMap::new();
            map.append(name.as_str(), value.as_str());
            let _ = decode_request(&map);
        }
    }
}
