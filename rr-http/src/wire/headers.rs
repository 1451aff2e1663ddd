//! The application's headers in a header map.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::wire::{CONTENT_TYPE, decode_binary, encode_binary};
use rr_spi::{Code, Delivery, Error, Headers, Received};

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

/// Takes the application's headers out of a message. Those over the limit are left out, and then
/// the second value is [`Received::OverLimit`].
pub(super) fn read(from: &HeaderMap) -> (Headers, Received) {
    let mut headers = Headers::new();
    let mut worst = Received::Kept;
    for (name, value) in from {
        let name = name.as_str();
        if is_framing(name) {
            continue;
        }
        let Some(value) = received_value(name, value) else { continue };
        if headers.receive(name, value) == Received::OverLimit {
            worst = Received::OverLimit;
        }
    }
    (headers, worst)
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
            | "x-request-id"
    )
}

/// Returns the bytes that the application sees, or `None` for what stands for nothing.
fn received_value(name: &str, value: &HeaderValue) -> Option<Bytes> {
    if Headers::is_binary_name(name) {
        return decode_binary(value.as_bytes());
    }
    if name == CONTENT_TYPE {
        if is_octet_stream(value) {
            return None;
        }
        if value == JSON {
            return Some(Bytes::from_static(JSON.as_bytes()));
        }
    }
    Some(Bytes::copy_from_slice(value.as_bytes()))
}

/// Tells whether a content type says no more than that these are bytes.
pub(super) fn is_octet_stream(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(OCTET_STREAM.as_bytes())
}

/// Returns the one value of a name: `Ok(None)` without any, `Err` when there are several or it is
/// not text.
pub(super) fn single<'a>(from: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = from.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(());
    }
    first.to_str().map(Some).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn too_many_headers_are_told() {
        let mut map = HeaderMap::new();
        for at in 0..65 {
            let name = HeaderName::try_from(format!("x-{at}")).unwrap();
            map.insert(name, HeaderValue::from_static("v"));
        }
        assert_eq!(read(&map).1, Received::OverLimit);
    }
}
