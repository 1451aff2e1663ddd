//! What every request over HTTP/1 must get right, whatever it asks for.

use http::{StatusCode, Version};
use rr_spi::{Code, Delivery, Error, Reason};

use super::head::Refusal;
use super::lines::{Line, Lines};

/// Checks how a request is framed and addressed; nothing else depends on its `Host`.
///
/// # Errors
///
/// All of them rejected: `InvalidArgument` for a `Host` that is missing, repeated or malformed
/// (RFC 9112 §3.2); `Unimplemented` for a transfer coding besides `chunked` (§6.1).
pub(crate) fn check_framing(version: Version, lines: &Lines<'_>) -> Result<(), Refusal> {
    if version > Version::HTTP_11 {
        return Ok(());
    }
    check_transfer_encoding(lines.transfer_encoding)?;
    let message = match lines.host {
        Line { first: None, .. } if version == Version::HTTP_11 => {
            "an HTTP/1.1 request carries a Host"
        }
        Line { repeated: true, .. } => "a request carries one Host only",
        Line { first: Some(host), .. } if !is_host(host.as_bytes()) => "malformed Host",
        _ => return Ok(()),
    };
    Err(Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message).into())
}

/// Hyper undoes `chunked`, the last of the codings, and would hand out the others as they are.
/// What such a request means is not certain, and so nothing after it is read.
fn check_transfer_encoding(line: Line<'_>) -> Result<(), Refusal> {
    let Some(first) = line.first else { return Ok(()) };
    if !line.repeated && first.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let message = "the only transfer encoding understood is chunked";
    let error = Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, message);
    Err(Refusal::with_status(error, StatusCode::NOT_IMPLEMENTED).closing())
}

/// Tells whether this is a host and perhaps a port (RFC 3986 §3.2.2); a host may be empty.
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

/// Tells whether this is one of the bytes that nearly all hosts are made of.
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
}
