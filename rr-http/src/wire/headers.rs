//! The application's headers in a header map.

use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::{Code, Delivery, Error, Headers};

use super::OCTET_STREAM;

/// Adds the application's headers to a message.
///
/// # Errors
///
/// `InvalidArgument`, not sent, when a header does not fit HTTP, which the grammar of [`Headers`]
/// rules out.
pub(super) fn write(headers: &Headers, into: &mut HeaderMap) -> Result<(), Error> {
    for (name, value) in headers.encoded() {
        let name_on_wire = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(name))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| unfit(name))?;
        into.append(name_on_wire, value);
    }
    Ok(())
}

fn unfit(name: &str) -> Error {
    let message = format!("header `{name}` does not fit HTTP");
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

/// Largest capacity that an emptied map keeps, in headers; a longer head frees its memory.
const CAPACITY_MAX: usize = 24;

/// Empties a header map, so that the next head on the connection reuses its memory. A new map would
/// cost each head two allocations, and more to grow.
pub(crate) fn emptied(mut map: HeaderMap) -> HeaderMap {
    if map.capacity() > CAPACITY_MAX {
        return HeaderMap::new();
    }
    map.clear();
    map
}

/// Returns a number as a header value, with one allocation; `From` makes two.
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

/// Returns the headers that apply beyond this hop: without those that `connection` names (RFC 9110
/// §7.6.1), and without a content type of raw bytes.
pub(super) fn visible(map: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    let bound = if map.contains_key(CONNECTION) { hop_by_hop(map) } else { Vec::new() };
    let is_hidden = move |name: &HeaderName, value: &HeaderValue| {
        (name == CONTENT_TYPE && is_octet_stream(value))
            || bound.iter().any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    let mut all = map.iter();
    // `filter` is not inlined here, and would cost as much as the rest.
    std::iter::from_fn(move || {
        loop {
            let (name, value) = all.next()?;
            if !is_hidden(name, value) {
                return Some((name.as_str(), value.as_bytes()));
            }
        }
    })
}

/// Returns the names that `connection` lists, without the usual options, which name no header.
fn hop_by_hop(map: &HeaderMap) -> Vec<&[u8]> {
    let lists = map.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let options = lists.flat_map(|list| list.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let usual: [&[u8]; 3] = [b"", b"keep-alive", b"close"];
    let is_usual = |option: &&[u8]| usual.iter().any(|usual| option.eq_ignore_ascii_case(usual));
    options.filter(|option| !is_usual(option)).collect()
}

/// Returns whether a content type declares raw bytes.
pub(super) fn is_octet_stream(value: &HeaderValue) -> bool {
    value == OCTET_STREAM || value.as_bytes().eq_ignore_ascii_case(OCTET_STREAM.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::wire::RequestHead;

    use super::*;

    fn read(map: &HeaderMap) -> RequestHead<'_> {
        let mut head = RequestHead::default();
        visible(map).for_each(|(name, value)| head.receive(name, value).unwrap());
        head
    }

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
            prop_assert_eq!(read(&map).headers, sent);
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
            let mut head = RequestHead::default();
            let _ = visible(&map).try_for_each(|(name, value)| head.receive(name, value));
            prop_assert!(head.headers.len() <= 64);
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
        assert_eq!(emptied(HeaderMap::with_capacity(CAPACITY_MAX + 1)).capacity(), 0);
    }

    #[test]
    fn headers_named_by_connection_are_hop_by_hop() {
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
        let head = read(&map);
        assert_eq!((head.headers.len(), head.dropped), (1, 0));
        assert_eq!(head.headers.get("x-kept"), Some("2"));
    }

    #[test]
    fn octet_stream_is_no_content_type() {
        let mut map = HeaderMap::new();
        map.insert("content-type", HeaderValue::from_static("Application/Octet-Stream"));
        assert!(read(&map).headers.is_empty());
        map.insert("content-type", HeaderValue::from_static("text/plain"));
        assert_eq!(read(&map).headers.get("content-type"), Some("text/plain"));
    }
}
