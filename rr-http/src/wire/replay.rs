//! Requests that a proxy may have repeated.

use http::{HeaderMap, Method};

use super::name;

/// Returns whether a proxy may have sent the request to another server before, or may do so later:
/// a refusal by one server then proves nothing about the others.
///
/// RFC 9110 §9.2.2 allows this for GET and HEAD. Go's `net/http`, and with it its `ReverseProxy`,
/// repeats any other method as well when one of two headers names an idempotency key and there is
/// no body (`Request.isReplayable`). `body_bytes` is the length of the body, or the length that its
/// head declares; 0 if the head declares none.
pub(crate) fn is_replayable(method: &Method, headers: &HeaderMap, body_bytes: u64) -> bool {
    let is_get = method == Method::GET || method == Method::HEAD;
    let keys = [name::IDEMPOTENCY_KEY, name::X_IDEMPOTENCY_KEY];
    // Most requests have a body, and need no header lookup.
    is_get || (body_bytes == 0 && keys.iter().any(|key| headers.contains_key(key)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_get_or_a_key_without_a_body_is_replayable() {
        let no_key = HeaderMap::new();
        for method in [Method::GET, Method::HEAD] {
            assert!(is_replayable(&method, &no_key, 0) && is_replayable(&method, &no_key, 1));
        }
        assert!(!is_replayable(&Method::POST, &no_key, 0));
        for name in ["idempotency-key", "x-idempotency-key"] {
            let line = (HeaderName::from_static(name), HeaderValue::from_static(""));
            let keyed = HeaderMap::from_iter([line]);
            assert!(is_replayable(&Method::POST, &keyed, 0), "{name}");
            assert!(!is_replayable(&Method::POST, &keyed, 1), "{name}");
        }
    }
}
