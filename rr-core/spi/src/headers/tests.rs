use super::*;
use crate::error::{Code, Delivery, Error, Reason};

#[test]
fn headers_are_one_pointer_and_empty_ones_are_null() {
    assert_eq!(size_of::<Headers>(), 8);
    let mut headers = Headers::new();
    headers.insert("a", "1").unwrap();
    assert!(headers.remove("A"));
    assert!(headers.is_empty() && headers.0.is_none());
}

#[test]
fn names_fold_and_repeated_names_keep_their_order() {
    let mut headers = Headers::new();
    headers.append("X-Tag", "b").unwrap();
    headers.append("x-tag", "a").unwrap();
    assert_eq!(headers.get_all("X-TAG").collect::<Vec<_>>(), ["b", "a"]);
    headers.insert("x-tag", "c").unwrap();
    assert_eq!(headers.len(), 1);
}

#[test]
fn equality_minds_the_order_of_the_values_of_a_name_alone() {
    let headers = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = Headers::new();
        pairs.iter().for_each(|(name, value)| headers.append(*name, *value).unwrap());
        headers
    };
    let sent = headers(&[("x-b", "1"), ("a", "2"), ("x-b", "3")]);
    assert_eq!(sent, headers(&[("a", "2"), ("x-b", "1"), ("x-b", "3")]));
    assert_ne!(sent, headers(&[("a", "2"), ("x-b", "3"), ("x-b", "1")]));
    assert_ne!(sent, headers(&[("a", "2"), ("x-b", "1"), ("a", "3")]));
    assert_ne!(sent, headers(&[("a", "2"), ("x-b", "1")]));
}

#[test]
fn a_message_has_one_content_type() {
    let mut headers = Headers::new();
    headers.append("content-type", "a/b").unwrap();
    assert_eq!(headers.append("Content-Type", "a/b").unwrap_err().code(), Code::InvalidArgument);
    headers.insert("content-type", "c/d").unwrap();
    let error = Error::new(Code::Aborted, "").with_headers(headers);
    assert!(error.headers().is_empty(), "the body is always the error body");
}

#[test]
fn values_that_could_split_a_message_are_refused() {
    let mut headers = Headers::new();
    for value in ["a\r\nb", "a\nb", "a\0", " a", "a ", "ü", "\t"] {
        let error = headers.insert("x", value).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{value:?}");
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    for name in ["", "a b", "a:b", "ä", "a_b", "-a", "a\r\n"] {
        assert!(headers.insert(name, "v").is_err(), "{name:?}");
    }
    assert!(headers.is_empty());
    headers.insert("x", "").unwrap();
    assert_eq!(headers.get("x"), Some(""));
}

#[test]
fn entries_and_bytes_are_bounded() {
    let mut headers = Headers::new();
    for _ in 0..64 {
        headers.append("x", "v").unwrap();
    }
    let error = headers.append("x", "v").unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::REQUEST_TOO_LARGE));
    let mut headers = Headers::new();
    headers.insert("x", "v".repeat(16 * 1024 - 1)).unwrap();
    assert!(headers.append("y", "").is_err());
    assert!(headers.insert("x", "v".repeat(16 * 1024)).is_err());
    assert_eq!(headers.get("x").map(str::len), Some(16 * 1024 - 1), "the old value stays");
}

#[test]
fn credentials_are_not_shown() {
    let mut headers = Headers::new();
    headers.insert("authorization", "Bearer secret").unwrap();
    headers.insert("x-shop", "berlin").unwrap();
    let shown = format!("{headers:?}");
    assert!(!shown.contains("secret") && shown.contains("berlin"), "{shown}");
}

#[test]
fn binary_names_carry_bytes_and_nothing_else() {
    let mut headers = Headers::new();
    headers.append_bin("sig-bin", vec![0, 255]).unwrap();
    assert_eq!(headers.get_bin("sig-bin").unwrap().as_ref(), [0, 255]);
    assert_eq!(headers.get("sig-bin"), None);
    assert!(headers.insert("sig-bin", "text").is_err());
    assert!(headers.append_bin("sig", "x").is_err());
}

#[test]
fn encoded_values_round_trip_and_values_that_a_proxy_joined_are_split() {
    let mut headers = Headers::new();
    headers.append_bin("x-bin", vec![0, 255]).unwrap();
    headers.insert("x", "v").unwrap();
    let mut read = Headers::new();
    for (name, value) in headers.encoded() {
        assert_eq!(read.receive_encoded(name, &value), Received::Kept);
    }
    assert_eq!(read, headers);
    let mut joined = Headers::new();
    assert_eq!(joined.receive_encoded("x-a-bin", b"AAE,AAI , AAM="), Received::Kept);
    let values: Vec<_> = joined.iter().map(|(_, value)| value.to_vec()).collect();
    assert_eq!(values, [vec![0, 1], vec![0, 2], vec![0, 3]]);
    assert_eq!(joined.receive_encoded("x-a-bin", b"AAE,%%%"), Received::Dropped);
}

#[test]
fn received_headers_are_folded_and_filtered() {
    let mut headers = Headers::new();
    assert_eq!(headers.receive("X-Shop", "berlin".into()), Received::Kept);
    assert_eq!(headers.receive("trailer-x", "shown".into()), Received::Kept);
    assert_eq!(headers.reply_only(), Some("trailer-x"));
    let mut of_request = headers.clone();
    of_request.remove_reply_only();
    assert_eq!(of_request.len(), 1);
    for name in ["rr", "RR-Code", "Nats-Msg-Id", "grpc-timeout", "Host", "traceparent"] {
        assert_eq!(headers.receive(name, "v".into()), Received::Reserved, "{name}");
    }
    assert_eq!(headers.receive("a_b", "v".into()), Received::Dropped);
    assert_eq!(headers.receive("x-latin", Bytes::from_static(b"\xfc")), Received::Dropped);
    assert_eq!(headers.len(), 2);
}
