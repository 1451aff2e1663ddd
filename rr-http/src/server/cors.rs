//! Cross-origin calls of web pages (Fetch standard, "CORS protocol"): pure decisions over headers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONNECTION,
    CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, EXPIRES, LAST_MODIFIED, ORIGIN, PRAGMA,
    SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rr_spi::{Code, Delivery, Error, defaults};

use crate::origins::HttpOrigins;

/// Methods of calls. The Fetch standard lets pages use these three without being allowed to.
const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, HEAD");

/// Seconds for which a browser remembers a preflight: the longest time that Chromium does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Request headers that determine the reply to a preflight.
const PREFLIGHT_VARIES_BY: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// Request header that determines the headers of every other reply.
const VARIES_BY: HeaderValue = HeaderValue::from_static("origin");

/// Longest list of request headers that a preflight may ask for, in bytes; the reply repeats it.
const REQUESTED_BYTES_MAX: usize = 4 * 1024;

/// Headers of a reply that need not be exposed: those that every page can read (Fetch standard,
/// "CORS-safelisted response-header name"), those that no page can read, and those that are not for
/// pages.
const NOT_EXPOSED: [HeaderName; 10] = [
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPIRES,
    LAST_MODIFIED,
    PRAGMA,
    SET_COOKIE,
    VARY,
];

/// Cross-origin calls of a server that allows some.
pub(super) struct Cors(HttpOrigins);

impl Cors {
    /// Returns `None` if no origin is allowed, and requests are handled as without CORS.
    pub(super) fn new(origins: &HttpOrigins) -> Option<Self> {
        (!origins.is_empty()).then(|| Self(origins.clone()))
    }

    /// Returns whether a request asks for permission, and is not a call.
    pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Returns the headers of the reply to a preflight.
    ///
    /// The requested headers are allowed, since an application may read any header. If one of them
    /// is malformed or the list is too long, none is allowed, and the browser reports it.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`, rejected, when pages of the origin may not call.
    pub(super) fn preflight(&self, request: &HeaderMap) -> Result<HeaderMap, Error> {
        let Some(origin) = self.grant(request) else {
            let text = "pages of this origin may not call this server: `cors_origins` lists those \
                        that may";
            let code = Code::PermissionDenied;
            return Err(Error::failure(code, Delivery::Rejected, None, text));
        };
        let mut reply = HeaderMap::with_capacity(6);
        reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        reply.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        if let Some(names) = requested(request) {
            reply.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        reply.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        reply.insert(VARY, PREFLIGHT_VARIES_BY);
        Ok(reply)
    }

    /// Returns the value of `access-control-allow-origin` in the reply to a request; `None` if no
    /// page may read the reply.
    pub(super) fn grant(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = request.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) => self.0.grant(origin),
            _ => None,
        }
    }
}

/// Adds the headers of CORS to the reply to a call, and replaces those that the application set or
/// a bridge received: the server alone grants access to pages.
///
/// The exposed headers are listed by name. `*` would expose them as well, but older browsers take
/// it for a name. A cache must not serve the reply to pages of another origin, so that it varies by
/// origin even if the request has none.
pub(super) fn mark(grant: Option<HeaderValue>, reply: &mut HeaderMap) {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        reply.remove(name);
    }
    if let Some(origin) = grant {
        if let Some(names) = exposed(reply) {
            reply.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
        reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    reply.append(VARY, VARIES_BY);
}

/// Returns the names of the headers that a page can read only if they are exposed.
fn exposed(reply: &HeaderMap) -> Option<HeaderValue> {
    let names = reply.keys().filter(|name| !NOT_EXPOSED.contains(name));
    list(names.map(HeaderName::as_str))
}

/// Returns the list of header names that a preflight asks for; `None` without any, and if they are
/// malformed or too many.
fn requested(request: &HeaderMap) -> Option<HeaderValue> {
    let lines = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS);
    if lines.iter().map(HeaderValue::len).sum::<usize>() > REQUESTED_BYTES_MAX {
        return None;
    }
    let mut names = Vec::new();
    for name in lines.iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b',')) {
        match HeaderName::from_bytes(name.trim_ascii()) {
            Ok(name) => names.push(name),
            // A list may have empty elements (RFC 9110 §5.6.1).
            Err(_) if name.trim_ascii().is_empty() => {}
            Err(_) => return None,
        }
    }
    let is_within = names.len() <= defaults::HEADER_ENTRIES_MAX;
    is_within.then(|| list(names.iter().map(HeaderName::as_str))).flatten()
}

/// Joins names with commas; `None` without any.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name);
    }
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "https://shop.example";

    fn some() -> Cors {
        Cors::new(&PAGE.parse().unwrap()).unwrap()
    }

    fn all() -> Cors {
        Cors::new(&HttpOrigins::all()).unwrap()
    }

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn text<'a>(map: &'a HeaderMap, name: &str) -> Option<&'a str> {
        map.get(name).map(|value| value.to_str().unwrap())
    }

    fn names(requested: &[&str]) -> Option<String> {
        let lines = requested.iter().map(|names| ("access-control-request-headers", *names));
        let lines: Vec<_> = lines.chain([("origin", PAGE)]).collect();
        let reply = some().preflight(&map(&lines)).unwrap();
        assert_eq!(text(&reply, "access-control-allow-origin"), Some(PAGE));
        text(&reply, "access-control-allow-headers").map(str::to_owned)
    }

    #[test]
    fn without_origins_there_is_nothing_to_decide() {
        assert!(Cors::new(&HttpOrigins::default()).is_none());
    }

    #[test]
    fn a_preflight_is_options_with_an_origin_and_a_method() {
        let both = map(&[("origin", PAGE), ("access-control-request-method", "POST")]);
        assert!(Cors::is_preflight(&Method::OPTIONS, &both));
        assert!(!Cors::is_preflight(&Method::POST, &both));
        for one in ["origin", "access-control-request-method"] {
            let mut rest = both.clone();
            rest.remove(one);
            assert!(!Cors::is_preflight(&Method::OPTIONS, &rest));
        }
    }

    #[test]
    fn a_preflight_grants_the_methods_of_calls_and_the_requested_headers() {
        let request = map(&[
            ("origin", PAGE),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "connect-protocol-version,content-type,x-tenant"),
        ]);
        let reply = some().preflight(&request).unwrap();
        let expected = map(&[
            ("access-control-allow-origin", PAGE),
            ("access-control-allow-methods", "POST, GET, HEAD"),
            ("access-control-allow-headers", "connect-protocol-version, content-type, x-tenant"),
            ("access-control-max-age", "7200"),
            ("vary", "origin, access-control-request-method, access-control-request-headers"),
        ]);
        assert_eq!(reply, expected);
        let reply = all().preflight(&request).unwrap();
        assert_eq!(text(&reply, "access-control-allow-origin"), Some("*"));
    }

    #[test]
    fn requested_headers_are_granted_all_or_none() {
        assert_eq!(names(&[]), None);
        assert_eq!(names(&["", " , "]), None);
        assert_eq!(names(&["X-A", "x-b , x-c,,"]).as_deref(), Some("x-a, x-b, x-c"));
        assert_eq!(names(&["x-a,x b"]), None);
        assert_eq!(names(&["x-a,\u{e9}"]), None);
        let many = |count: usize| vec!["x"; count].join(",");
        assert!(names(&[&many(64)]).is_some() && names(&[&many(65)]).is_none());
        assert!(names(&[&"x".repeat(4096)]).is_some() && names(&[&"x".repeat(4097)]).is_none());
    }

    #[test]
    fn another_origin_and_more_than_one_are_granted_nothing() {
        for origins in [&["https://other.example"][..], &["null"], &[PAGE, PAGE], &[]] {
            let lines: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            assert_eq!(some().grant(&map(&lines)), None, "{origins:?}");
            let error = some().preflight(&map(&lines)).unwrap_err();
            assert_eq!(error.code(), Code::PermissionDenied);
            assert_eq!(error.delivery(), Delivery::Rejected);
        }
    }

    #[test]
    fn a_reply_exposes_its_headers_by_name_to_the_page() {
        let mut reply = map(&[
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("connection", "close"),
            ("set-cookie", "a=b"),
            ("rr-code", "aborted"),
            ("x-shop", "1"),
            ("x-shop", "2"),
        ]);
        mark(Some(HeaderValue::from_static(PAGE)), &mut reply);
        assert_eq!(text(&reply, "access-control-expose-headers"), Some("rr-code, x-shop"));
        assert_eq!(text(&reply, "access-control-allow-origin"), Some(PAGE));
        assert_eq!(text(&reply, "vary"), Some("origin"));
        assert_eq!(reply.get_all("x-shop").iter().count(), 2);
        let mut plain = map(&[("content-type", "application/json")]);
        mark(Some(HeaderValue::from_static(PAGE)), &mut plain);
        assert_eq!(text(&plain, "access-control-expose-headers"), None);
    }

    #[test]
    fn what_another_server_granted_is_replaced() {
        let granted = || {
            map(&[
                ("access-control-allow-origin", "*"),
                ("access-control-allow-credentials", "true"),
                ("access-control-expose-headers", "*"),
                ("vary", "accept"),
            ])
        };
        let mut reply = granted();
        mark(None, &mut reply);
        assert_eq!(reply, map(&[("vary", "accept"), ("vary", "origin")]));
        let mut reply = granted();
        mark(Some(HeaderValue::from_static(PAGE)), &mut reply);
        let expected =
            [("vary", "accept"), ("vary", "origin"), ("access-control-allow-origin", PAGE)];
        assert_eq!(reply, map(&expected));
    }

    proptest! {
        #[test]
        fn no_header_of_a_request_causes_a_panic_or_a_grant_to_a_stranger(
            origin in prop::collection::vec(any::<u8>(), 0..40),
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
        ) {
            let mut request = HeaderMap::new();
            let mut add = |name, bytes: &[u8]| {
                if let Ok(value) = HeaderValue::from_bytes(bytes) {
                    request.append(name, value);
                }
            };
            add(ORIGIN, &origin);
            for line in &lines {
                add(ACCESS_CONTROL_REQUEST_HEADERS, line);
            }
            prop_assert_eq!(some().preflight(&request).is_ok(), origin == PAGE.as_bytes());
            let granted = all().preflight(&request);
            prop_assert_eq!(granted.is_ok(), request.contains_key(ORIGIN));
            if let Some(names) = granted.ok().and_then(|reply| reply.get(ACCESS_CONTROL_ALLOW_HEADERS).cloned()) {
                let names = names.to_str().unwrap().to_owned();
                prop_assert!(names.split(", ").all(|name| HeaderName::from_bytes(name.as_bytes()).is_ok()));
            }
        }
    }
}
