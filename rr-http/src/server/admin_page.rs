//! Page for operators: its path, and web pages that must not read it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::header;
use http::request::Parts;
use rr_spi::wire::DEBUG_TARGET;
use rr_spi::{Peer, Target};

use crate::wire::encode_path;

/// Path of the page, in addition to that of its target.
const DEBUG: &str = "/.well-known/rr/debug";

/// Adds the path of the page, if its target is routed.
pub(super) fn route(paths: &mut HashMap<String, Target>, prefix: &str) {
    let Ok(target) = Target::from_static(DEBUG_TARGET) else { return };
    if paths.contains_key(&encode_path(prefix, &target)) {
        paths.insert(DEBUG.to_owned(), target);
    }
}

/// Returns the caller as one that is not local, if the request is for the page and names the server
/// by a domain other than `localhost`, or has headers that its handler would not see.
///
/// A web page of another domain can make a browser of this machine resolve that domain to a loopback
/// address, and read what it finds there (DNS rebinding). It cannot make the browser send the name
/// `localhost` or an address.
///
/// The page knows a proxy by the headers that it adds. A client of the proxy can spoil them: with text
/// outside of ASCII before the value that the proxy appends, or with their names in `connection`.
pub(super) fn rebound(
    target: &Target,
    parts: &Parts,
    caller: Option<&Arc<Peer>>,
) -> Option<Arc<Peer>> {
    if target.as_str() != DEBUG_TARGET || (is_addressed_locally(parts) && shows_all(parts)) {
        return None;
    }
    caller.map(|caller| Arc::new(Peer::clone(caller).as_remote()))
}

fn is_addressed_locally(parts: &Parts) -> bool {
    let host = parts.headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    host.into_iter().chain(authority).all(|authority| names_no_domain(host_of(authority)))
}

/// Options of `connection` that a client sends for itself.
const OWN_OPTIONS: [&str; 5] = ["close", "http2-settings", "keep-alive", "te", "upgrade"];

/// Returns whether the handler sees all headers of the request besides those of the connection.
fn shows_all(parts: &Parts) -> bool {
    let is_text = |value: &[u8]| value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let options = parts.headers.get_all(header::CONNECTION).into_iter();
    let mut options = options.flat_map(|list| list.as_bytes().split(|&byte| byte == b','));
    let is_own = |option: &[u8]| {
        let option = option.trim_ascii();
        option.is_empty()
            || OWN_OPTIONS.iter().any(|own| option.eq_ignore_ascii_case(own.as_bytes()))
    };
    options.all(is_own) && parts.headers.values().all(|value| is_text(value.as_bytes()))
}

/// Returns the host of an authority, without brackets.
fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn names_no_domain(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_name_no_domain() {
        for local in
            ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "10.0.0.1", "[::1]:80", "[::1]"]
        {
            assert!(names_no_domain(host_of(local)), "{local}");
        }
        for foreign in
            ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io"]
        {
            assert!(!names_no_domain(host_of(foreign)), "{foreign}");
        }
    }
}
