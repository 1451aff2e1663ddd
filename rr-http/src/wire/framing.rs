//! Framing and address checks that every request must pass.

use http::uri::Authority;
use http::{StatusCode, Uri, Version};
use rr_spi::{Code, Delivery, Error, Reason};

use super::known_headers::{Line, Lines};
use super::refusal::Refusal;

/// Checks the framing and the address of a request. Nothing else depends on its `Host`.
///
/// # Errors
///
/// All of them rejected: `InvalidArgument` for a `Host` that is missing over HTTP/1.1, repeated or
/// malformed (RFC 9112 §3.2), for an authority with user information (RFC 9110 §4.2.4), and over
/// HTTP/2 for a `Host` other than the authority (RFC 9113 §8.3.1); `Unimplemented` for a transfer
/// coding besides `chunked` (RFC 9112 §6.1).
pub(crate) fn check_framing(version: Version, uri: &Uri, lines: &Lines<'_>) -> Result<(), Refusal> {
    let is_h1 = version <= Version::HTTP_11;
    if is_h1 {
        check_transfer_encoding(lines.transfer_encoding)?;
    }
    let authority = uri.authority().map(Authority::as_str);
    let other = |host: &[u8]| {
        let differs = |authority| !is_same_host(authority, host, uri.scheme_str());
        !is_h1 && authority.is_some_and(differs)
    };
    let message = match lines.host {
        _ if authority.is_some_and(|authority| !is_host(authority.as_bytes())) => {
            "malformed authority"
        }
        Line { first: None, .. } if version == Version::HTTP_11 => {
            "an HTTP/1.1 request carries a Host"
        }
        Line { repeated: true, .. } => "a request carries one Host only",
        Line { first: Some(host), .. } if !is_host(host.as_bytes()) => "malformed Host",
        Line { first: Some(host), .. } if other(host.as_bytes()) => {
            "the Host is another than the authority"
        }
        _ => return Ok(()),
    };
    Err(Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message).into())
}

/// Refuses transfer codings other than `chunked`. Hyper decodes only a final `chunked` and would
/// pass the others through. The meaning of such a request is uncertain, so that nothing after it is
/// read.
fn check_transfer_encoding(line: Line<'_>) -> Result<(), Refusal> {
    let Some(first) = line.first else { return Ok(()) };
    if !line.repeated && first.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let message = "the only transfer encoding understood is chunked";
    let error = Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, message);
    Err(Refusal::with_status(error, StatusCode::NOT_IMPLEMENTED).closing())
}

/// Returns whether an authority and a `Host` are the same, with or without the port of the scheme.
fn is_same_host(authority: &str, host: &[u8], scheme: Option<&str>) -> bool {
    let port: &[u8] = if scheme == Some("https") { b":443" } else { b":80" };
    let bare = |text: &'_ [u8]| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    bare(authority.as_bytes()) == bare(host)
}

/// Returns whether the text is a host and optional port (RFC 3986 §3.2.2); the host may be empty.
fn is_host(text: &[u8]) -> bool {
    let end = match text.first() {
        Some(b'[') => text.iter().position(|&byte| byte == b']').map(|at| at + 1),
        _ => Some(text.iter().position(|&byte| byte == b':').unwrap_or(text.len())),
    };
    let Some((host, port)) = end.map(|end| text.split_at(end)) else { return false };
    let in_brackets = |byte: &u8| is_of_name(*byte) || matches!(byte, b':' | b'~' | b'%');
    let plain = |byte: &u8| is_of_name(*byte) || b"~!$&'()*+,;=%".contains(byte);
    let host_fits = match host {
        [b'[', inner @ .., b']'] => !inner.is_empty() && inner.iter().all(in_brackets),
        name => name.iter().all(plain),
    };
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_fits && port_fits
}

/// Returns whether the byte is one of those that nearly all hosts consist of.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_or_without_a_port() {
        for good in ["", "h", "h:", "h:80", "a_b.c-d:1", "127.0.0.1:80", "[::1]", "[::1]:80", "%41"]
        {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["a b", "a/b", "a b/c?d", "h?x", "u@h", "h:8x", "h:1:2", "[::1", "[]", "[::1]x"]
        {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn over_http_2_there_is_one_authority_without_user_information() {
        let check = |version, uri: &str, hosts: &[&'static str]| {
            let values = hosts.iter().map(|host| http::HeaderValue::from_static(host));
            let map = values.map(|value| (http::header::HOST, value));
            let map = map.fold(http::HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            });
            check_framing(version, &uri.parse().unwrap(), &Lines::of(&map)).is_ok()
        };
        let h2 = |uri: &str, hosts: &[&'static str]| check(Version::HTTP_2, uri, hosts);
        for (uri, hosts) in [
            ("http://h/t", &[][..]),
            ("http://h/t", &["H"]),
            ("http://h:80/t", &["h"]),
            ("https://h/t", &["h:443"]),
            ("/t", &["h"]),
        ] {
            assert!(h2(uri, hosts), "{uri} {hosts:?}");
        }
        for (uri, hosts) in [
            ("http://u@h/t", &[][..]),
            ("http://h/t", &["g"]),
            ("http://h:81/t", &["h"]),
            ("http://h/t", &["h", "h"]),
            ("/t", &["u@h"]),
        ] {
            assert!(!h2(uri, hosts), "{uri} {hosts:?}");
        }
        assert!(!check(Version::HTTP_11, "http://u@h/t", &["h"]));
        // Over HTTP/1.1 the Host is ignored in this case (RFC 9112 §3.2.2).
        assert!(check(Version::HTTP_11, "http://h/t", &["g"]));
    }
}
