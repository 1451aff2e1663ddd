//! The application's headers in a header map.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::wire::{CONTENT_TYPE, decode_binary, encode_binary};
use rr_spi::{Code, Delivery, Error, Headers, Received};

use super::lines::Line;
use super::{JSON, OCTET_STREAM};

/// Adds the application's headers to a message.
///
/// # Errors
///
/// `InvalidArgument`, not sent, when a value does not fit HTTP; the grammar of [`Headers`] leaves
/// nothing that does not.
pub(super) fn write(headers: &Headers, into: &mut HeaderMap) -> Result<(), Error> {
    for (name, value) in headers.iter() {
        let name_on_wire = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(name))?;
        let value = if Headers::is_binary_name(name) {
            HeaderValue::try_from(encode_binary(value)).map_err(|_| unfit(name))?
        } else {
            HeaderValue::from_maybe_shared(value.clone()).map_err(|_| unfit(name))?
        };
        into.append(name_on_wire, value);
    }
    Ok(())
}

fn unfit(name: &str) -> Error {
    let message = format!("header `{name}` does not fit HTTP");
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

/// Most headers for which an emptied map keeps room; a longer head is not held in memory until the
/// next.
const ROOM_MAX: usize = 24;

/// Empties a map of headers that were read. Its room serves the next head on the connection: a map
/// made anew for each costs two allocations, and more while it grows.
pub(crate) fn emptied(mut map: HeaderMap) -> HeaderMap {
    if map.capacity() > ROOM_MAX {
        return HeaderMap::new();
    }
    map.clear();
    map
}

/// Returns a number as a value, with one allocation, where `From` makes two.
pub(crate) fn decimal(number: u64) -> HeaderValue {
    let mut digits = [b'0'; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] += (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&digits[at..]).unwrap_or_else(|_| HeaderValue::from(number))
}

/// Takes the application's headers out of a message. Those over the limit are left out, and then
/// the second value is [`Received::OverLimit`].
pub(super) fn read(from: &HeaderMap) -> (Headers, Received) {
    let (headers, worst, _) = read_counting(from);
    (headers, worst)
}

/// As [`read`], and counts the headers that were dropped because they do not fit our grammar.
pub(super) fn read_counting(from: &HeaderMap) -> (Headers, Received, u64) {
    let mut headers = Headers::new();
    let mut worst = Received::Kept;
    let mut dropped = 0;
    let is_bound = from.contains_key(CONNECTION);
    for (name, value) in from {
        let name = name.as_str();
        if is_framing(name) || (is_bound && is_of_connection(name, from)) {
            continue;
        }
        let mut take = |part: Value| {
            let received = match part {
                Value::Absent => return,
                Value::Broken => Received::Dropped,
                Value::Of(part) => headers.receive(name, part),
            };
            match received {
                Received::OverLimit => worst = Received::OverLimit,
                Received::Dropped if is_foreign(name, value) => dropped += 1,
                _ => {}
            }
        };
        if Headers::is_binary_name(name) {
            // A proxy may have joined several lines (RFC 9110 §5.2); base64 has no comma.
            value.as_bytes().split(|&byte| byte == b',').map(binary_value).for_each(take);
        } else {
            take(received_value(name, value));
        }
    }
    (headers, worst, dropped)
}

/// Tells whether `connection` names this header, which then is for this hop alone (RFC 9110 §7.6.1).
fn is_of_connection(name: &str, map: &HeaderMap) -> bool {
    let lists = map.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let mut options = lists.flat_map(|list| list.split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// Tells whether a header was dropped for its form, and not because its name is reserved.
fn is_foreign(name: &str, value: &HeaderValue) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    Headers::is_binary_name(name) || !name.bytes().all(plain) || value.to_str().is_err()
}

/// Names that nearly every message carries and no application sees; [`Headers::receive`] would
/// drop them too, after having copied the name.
fn is_framing(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "date"
            | "connection"
            | "accept-encoding"
            | "connect-protocol-version"
            | "connect-timeout-ms"
            | "rr"
            | "traceparent"
            | "tracestate"
            | "baggage"
            | "x-request-id"
    )
}

/// What a value amounts to.
enum Value {
    /// The bytes that the application sees.
    Of(Bytes),
    /// It says nothing.
    Absent,
    /// It is not what its name says it is.
    Broken,
}

fn binary_value(text: &[u8]) -> Value {
    decode_binary(text.trim_ascii()).map_or(Value::Broken, Value::Of)
}

fn received_value(name: &str, value: &HeaderValue) -> Value {
    if name == CONTENT_TYPE {
        if is_octet_stream(value) {
            return Value::Absent;
        }
        if value == JSON {
            return Value::Of(Bytes::from_static(JSON.as_bytes()));
        }
    }
    Value::Of(Bytes::copy_from_slice(value.as_bytes()))
}

/// Tells whether a content type says no more than that these are bytes.
pub(super) fn is_octet_stream(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(OCTET_STREAM.as_bytes())
}

/// Returns the values of a name as one list, as W3C Trace Context §3.3.1 and Baggage §3.3 ask for;
/// `None` without any, or when one of them is not text. Only several are put together anew.
pub(super) fn list<'a>(
    from: &'a HeaderMap,
    name: &'static str,
    line: Line<'a>,
) -> Option<Cow<'a, str>> {
    if !line.repeated {
        return line.text().map(Cow::Borrowed);
    }
    let mut values = from.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.try_fold(Cow::Borrowed(first), |list, next| {
        Some(Cow::Owned(format!("{list},{}", next.to_str().ok()?)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn binary_values_that_a_proxy_joined_are_split() {
        let mut map = HeaderMap::new();
        map.insert("x-a-bin", HeaderValue::from_static("AAE,AAI , AAM="));
        let (headers, received) = read(&map);
        let values: Vec<_> = headers.iter().map(|(_, value)| value.to_vec()).collect();
        assert_eq!(values, [vec![0, 1], vec![0, 2], vec![0, 3]]);
        assert_eq!(received, Received::Kept);
    }

    use crate::wire::lines::Lines;

    proptest! {
        #[test]
        fn headers_round_trip(
            texts in prop::collection::vec(("x-[a-z0-9.-]{0,12}a", "([!-~]([ -~]{0,10}[!-~])?)?"), 0..12),
            bytes in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut sent = Headers::new();
            for (name, value) in &texts {
                if sent.contains(name) {
                    continue;
                }
                sent.append(name.clone(), value.clone()).unwrap();
            }
            sent.append_bin("sig-bin", bytes).unwrap();
            let mut map = HeaderMap::new();
            write(&sent, &mut map).unwrap();
            let (read, worst) = read(&map);
            prop_assert_eq!(worst, Received::Kept);
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn whatever_a_peer_sends_is_read_without_panic(
            pairs in prop::collection::vec(("[!-~]{1,12}", prop::collection::vec(any::<u8>(), 0..12)), 0..80),
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                if let (Ok(name), Ok(value)) =
                    (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
                {
                    map.append(name, value);
                }
            }
            let (headers, _) = read(&map);
            prop_assert!(headers.len() <= 64);
        }
    }

    #[test]
    fn numbers_are_written_as_http_does() {
        for number in [0, 7, 10, 4096, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(decimal(number), HeaderValue::from(number));
        }
    }

    #[test]
    fn an_emptied_map_keeps_room_for_a_head_and_not_for_a_flood() {
        let mut map = HeaderMap::with_capacity(6);
        map.insert("x-a", HeaderValue::from_static("v"));
        let room = map.capacity();
        let map = emptied(map);
        assert!(map.is_empty() && map.capacity() == room);
        assert_eq!(emptied(HeaderMap::with_capacity(ROOM_MAX + 1)).capacity(), 0);
    }

    #[test]
    fn what_connection_names_is_for_this_hop_alone() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("connection", "x-other,x-third"),
            ("x-third", "3"),
            ("x-kept", "2"),
        ] {
            map.append(name, HeaderValue::from_static(value));
        }
        let (headers, worst, dropped) = read_counting(&map);
        assert_eq!((headers.len(), worst, dropped), (1, Received::Kept, 0));
        assert_eq!(headers.get("x-kept"), Some("2"));
    }

    #[test]
    fn octet_stream_says_nothing_and_broken_binary_is_dropped() {
        let mut map = HeaderMap::new();
        map.insert("content-type", HeaderValue::from_static("Application/Octet-Stream"));
        map.insert("a-bin", HeaderValue::from_static("%%%"));
        map.insert("b-bin", HeaderValue::from_static("eA=="));
        let (headers, _) = read(&map);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.get_bin("b-bin").unwrap(), "x");
    }

    #[test]
    fn what_does_not_fit_is_counted_and_what_is_reserved_is_not() {
        let mut map = HeaderMap::new();
        let latin = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        map.insert("x_under", HeaderValue::from_static("v"));
        map.insert("x-latin", latin);
        map.insert("x-bin", HeaderValue::from_static("%%%"));
        assert_eq!(read_counting(&map).2, 3);
        for reserved in ["rr-code", "nats-x", "keep-alive", "baggage", "content-type", "x-kept"] {
            map.insert(reserved, HeaderValue::from_static("application/octet-stream"));
        }
        let (headers, _, dropped) = read_counting(&map);
        assert_eq!((headers.len(), dropped), (1, 3));
    }

    #[test]
    fn lines_of_a_list_are_joined_and_one_line_is_not_copied() {
        let name = HeaderName::from_static("tracestate");
        let mut map = HeaderMap::new();
        let list = |map: &HeaderMap| {
            list(map, "tracestate", Lines::of(map).tracestate).map(Cow::into_owned)
        };
        assert_eq!(list(&map), None);
        map.append(&name, HeaderValue::from_static("a=1"));
        let line = Lines::of(&map).tracestate;
        assert!(matches!(super::list(&map, "tracestate", line), Some(Cow::Borrowed("a=1"))));
        map.append(&name, HeaderValue::from_static("b=2,c=3"));
        map.append(&name, HeaderValue::from_static("d=4"));
        assert_eq!(list(&map).unwrap(), "a=1,b=2,c=3,d=4");
        map.append(&name, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(list(&map), None);
    }

    #[test]
    fn too_many_headers_are_told() {
        let mut map = HeaderMap::new();
        for at in 0..65 {
            let name = HeaderName::try_from(format!("x-{at}")).unwrap();
            map.insert(name, HeaderValue::from_static("v"));
        }
        assert_eq!(read(&map).1, Received::OverLimit);
    }
}
