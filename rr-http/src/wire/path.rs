//! Targets as paths.

use std::borrow::Cow;

use rr_spi::Target;

/// Returns the path of a target: `service.method` is `/service/method`.
pub(crate) fn encode_path(prefix: &str, target: &Target) -> String {
    let service = target.service();
    let mut path = String::with_capacity(prefix.len() + target.as_str().len() + 2);
    path.push_str(prefix);
    if !service.is_empty() {
        path.push('/');
        path.push_str(service);
    }
    path.push('/');
    path.push_str(target.method());
    path
}

/// Returns the target of a path; `None` is a 404.
pub(crate) fn decode_path(prefix: &str, path: &str) -> Option<Target> {
    let path = unescape(path)?;
    let rest = path.strip_prefix(prefix)?.strip_prefix('/')?;
    let Some((service, method)) = rest.split_once('/') else {
        return if rest.contains('.') { None } else { Target::parse(rest).ok() };
    };
    // The method is one token: a dot in it would make two paths mean the same target.
    if service.is_empty() || method.contains('.') {
        return None;
    }
    Target::parse(&format!("{service}.{method}")).ok()
}

/// Decodes the escapes of unreserved characters (RFC 3986 §2.3); any other escape is refused,
/// since it could mean another path to whatever stands in between.
fn unescape(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut out = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        let high = chars.next()?.to_digit(16)?;
        let low = chars.next()?.to_digit(16)?;
        let decoded = char::from_u32(high * 16 + low)?;
        if !decoded.is_ascii_alphanumeric() && !matches!(decoded, '-' | '.' | '_' | '~') {
            return None;
        }
        out.push(decoded);
    }
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_have_the_paths_of_the_wire_format() {
        let path = |text| encode_path("", &Target::parse(text).unwrap());
        assert_eq!(path("ping"), "/ping");
        assert_eq!(path("service.ping"), "/service/ping");
        assert_eq!(path("acme.orders.v1.Orders.Place"), "/acme.orders.v1.Orders/Place");
    }

    #[test]
    fn anything_else_in_a_path_is_not_found() {
        for bad in [
            "", "/", "ping", "//ping", "/a.b", "/a/b.c", "/a/b/c", "/a/", "/ping/", "/a%2Fb",
            "/a%20", "/%", "/%4", "/%zz", "/a//b", "/ä", "*",
        ] {
            assert_eq!(decode_path("", bad), None, "{bad}");
        }
        assert_eq!(decode_path("/api", "/ping"), None);
        assert_eq!(decode_path("/api", "/apiping"), None);
        assert_eq!(decode_path("/api", "/api/%70ing").unwrap().as_str(), "ping");
    }

    proptest! {
        #[test]
        fn round_trips(text in "[A-Za-z0-9_-]{1,8}(\\.[A-Za-z0-9_-]{1,8}){0,4}", prefixed: bool) {
            let prefix = if prefixed { "/team/api" } else { "" };
            let target = Target::parse(&text).unwrap();
            prop_assert_eq!(decode_path(prefix, &encode_path(prefix, &target)), Some(target));
        }

        #[test]
        fn decode_never_panics_and_is_unambiguous(path in "/[A-Za-z./%0-9]{0,20}") {
            if let Some(target) = decode_path("", &path) {
                let unescaped = unescape(&path).unwrap();
                prop_assert_eq!(encode_path("", &target), unescaped);
            }
        }
    }
}
