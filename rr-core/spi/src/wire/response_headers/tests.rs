use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn head<'a>(headers: &[(&str, &'a str)]) -> ResponseHead<'a> {
    let mut head = ResponseHead::default();
    for (name, value) in headers {
        head.receive(name, value.as_bytes());
    }
    head
}

fn read(headers: &[(&str, &str)], body: &'static str) -> Result<Response, Error> {
    head(headers).outcome(body.into())
}

fn rejected() -> Error {
    Error::failure(Code::Unavailable, Delivery::Rejected, None, "421")
}

fn fallback() -> Error {
    Error::failure(Code::Unknown, Delivery::Unknown, None, "status 418")
        .with_origin(Origin::Intermediary)
}

#[test]
fn a_success_keeps_its_headers() {
    let response = read(&[("X-Shop", "berlin"), ("rr-dedup", "on")], "b").unwrap();
    assert_eq!((response.headers.get("x-shop"), response.headers.len()), (Some("berlin"), 1));
    assert_eq!((&*response.body, response.dedup()), (&b"b"[..], Some(Dedup::On)));
}

#[test]
fn one_known_value_of_dedup_is_read_and_nothing_is_guessed() {
    let dedup = |values: &[&'static str]| {
        let headers: Vec<_> = values.iter().map(|value| ("rr-dedup", *value)).collect();
        read(&headers, "").unwrap().dedup()
    };
    for known in [Dedup::On, Dedup::Replayed] {
        assert_eq!(dedup(&[known.as_str()]), Some(known));
    }
    for other in [&[][..], &[""], &["On"], &["off"], &["on, on"], &["on", "on"]] {
        assert_eq!(dedup(other), None, "{other:?}");
    }
}

#[test]
fn an_error_round_trips_by_headers_and_body() {
    let mut headers = Headers::new();
    headers.insert("x-shop", "berlin").unwrap();
    let sent = Error::failure(Code::Unavailable, Delivery::NotSent, Reason::DRAINING, "bye")
        .with_retry(RetryHint::After(Duration::from_millis(20)))
        .with_detail(crate::Detail::new("t.T", "v"))
        .with_dedup(Dedup::Replayed)
        .with_headers(headers);
    let (own, encoded) = (ErrorHeaders::of(&sent), ErrorDocument::encode(&sent));
    let app: Vec<_> = sent.headers().encoded().collect();
    let mut head = ResponseHead::default();
    for (name, value) in own.iter() {
        head.receive(name, value.as_bytes());
    }
    for (name, value) in &app {
        head.receive(name, value);
    }
    let read = head.outcome(encoded).unwrap_err();
    assert_eq!((read.code(), read.delivery()), (sent.code(), Delivery::Rejected));
    assert_eq!((read.reason(), read.retry()), (sent.reason(), sent.retry()));
    assert_eq!((read.message(), read.headers()), (sent.message(), sent.headers()));
    assert_eq!((read.details(), read.dedup()), (sent.details(), sent.dedup()));
    assert_eq!(read.origin(), Origin::Peer);
}

#[test]
fn an_unknown_or_repeated_code_is_unknown() {
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

#[test]
fn a_source_without_a_known_code_is_skipped() {
    let body = Bytes::from_static(br#"{"code":"aborted","message":"m"}"#);
    let read = head(&[("rr-code", "new_code")]).into_error(&body, fallback);
    assert_eq!((read.code(), read.delivery()), (Code::Aborted, Delivery::Unknown));
    let read = head(&[]).into_error(&Bytes::from_static(b"<html>"), fallback);
    assert_eq!((read.code(), read.origin()), (Code::Unknown, Origin::Intermediary));
}

#[test]
fn deliveries_that_disagree_claim_the_least() {
    let read = |code: &[&'static str], delivery: &[&'static str], body: &'static str| {
        let code = code.iter().map(|value| ("rr-code", *value));
        let delivery = delivery.iter().map(|value| ("rr-delivery", *value));
        let headers: Vec<_> = code.chain(delivery).collect();
        head(&headers).into_error(&body.into(), rejected).delivery()
    };
    let known = &["unavailable"][..];
    assert_eq!(read(known, &["rejected"], ""), Delivery::Rejected);
    assert_eq!(read(known, &["rejected", "processed"], ""), Delivery::Unknown);
    assert_eq!(read(known, &["xx"], r#"{"delivery":"rejected"}"#), Delivery::Unknown);
    assert_eq!(read(known, &["rejected"], r#"{"delivery":"processed"}"#), Delivery::Processed);
    assert_eq!(read(&[], &[], ""), Delivery::Rejected);
    assert_eq!(read(&[], &[], r#"{"delivery":"processed"}"#), Delivery::Processed);
    assert_eq!(read(&[], &["unknown"], ""), Delivery::Unknown);
    assert_eq!(read(&["newer_code"], &["processed"], ""), Delivery::Processed);
    assert_eq!(read(&["newer_code"], &["rejected"], ""), Delivery::Rejected);
}

#[test]
fn a_reply_of_rr_without_a_known_code_or_delivery_is_unknown() {
    for headers in [
        &[("rr-code", "newer_code")][..],
        &[("rr-code", "aborted"), ("rr-code", "aborted")],
        &[("rr-reason", "draining")],
        &[("rr-reason", "draining"), ("rr-reason", "app")],
        &[("rr-retry-after-ms", "5")],
        &[("rr-delivery", "")],
    ] {
        assert!(head(headers).is_error() && head(headers).is_from_rr());
        let error = head(headers).into_error(&Bytes::new(), rejected);
        assert_eq!(error.delivery(), Delivery::Unknown);
    }
    assert!(!head(&[("rr-dedup", "on")]).is_error() && head(&[("Rr-Dedup", "on")]).is_from_rr());
    assert!(!head(&[("x-rr", "on")]).is_from_rr());
}

#[test]
fn negative_garbage_repeated_or_endless_retry_hints_are_never() {
    let hint = |values: &[&'static str], fallback: fn() -> Error| {
        let headers: Vec<_> = values.iter().map(|value| ("rr-retry-after-ms", *value)).collect();
        head(&headers).into_error(&Bytes::new(), fallback).retry()
    };
    assert_eq!(hint(&["250"], fallback), RetryHint::After(Duration::from_millis(250)));
    for never in [&["-1"][..], &["+5"], &["x"], &["ü"], &["1", "2"], &["300001"]] {
        assert_eq!(hint(never, fallback), RetryHint::Never, "{never:?}");
    }
    assert_eq!(hint(&[], fallback), RetryHint::Unset);
    let hinted = || fallback().with_retry(RetryHint::After(Duration::from_secs(1)));
    assert_eq!(hint(&["-1"], hinted), RetryHint::Never);
}

/// None, one or two values of a header.
fn values(of: &'static str) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(of, 0..3)
}

proptest! {
    #[test]
    fn only_one_known_value_makes_a_reply_of_rr_claim_anything(
        code in values("unavailable|newer_code|aborted|"),
        reason in values("draining|x y"),
        delivery in values("rejected|processed|unknown|not_sent|Rejected|"),
        retry_after_ms in values("-1|5|x"),
        body in prop_oneof![
            Just(""), Just("{}"), Just("<html>"), Just(r#"{"code":"newer_code"}"#),
            Just(r#"{"code":"not_found"}"#),
        ],
    ) {
        let mut head = ResponseHead::default();
        for (name, values) in [
            ("rr-code", &code),
            ("rr-reason", &reason),
            ("rr-delivery", &delivery),
            ("rr-retry-after-ms", &retry_after_ms),
        ] {
            values.iter().for_each(|value| head.receive(name, value.as_bytes()));
        }
        let is_error = head.is_error();
        let any = [&code, &reason, &delivery, &retry_after_ms].iter().any(|v| !v.is_empty());
        prop_assert_eq!(is_error, any);
        let read = head.into_error(&body.into(), rejected).delivery();
        let stated = match &delivery[..] {
            [only] => Delivery::from_wire(only).unwrap_or(Delivery::Unknown),
            _ => Delivery::Unknown,
        };
        if is_error || body.contains("not_found") {
            prop_assert_eq!(read, stated);
        } else {
            prop_assert_eq!(read, Delivery::Rejected);
        }
    }

    #[test]
    fn receiving_never_panics(
        name in prop_oneof!["[!-~]{0,12}", Just("rr-code".into()), Just("RR-Delivery".into())],
        value in prop::collection::vec(any::<u8>(), 0..40),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut head = ResponseHead::default();
        head.receive(&name, &value);
        let _ = head.outcome(body.into());
    }
}
