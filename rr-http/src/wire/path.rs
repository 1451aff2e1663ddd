//! Conversion between targets and paths.

use rr_spi::Target;
use rr_spi::wire::percent_decode;

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

/// Returns the target of a path; `None` leads to a 404.
pub(crate) fn decode_path(prefix: &str, path: &str) -> Option<Target> {
    let unescaped;
    let path = match path.contains('%') {
        true => {
            unescaped = unescape(path)?;
            &unescaped
        }
        false => path,
    };
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

/// Decodes percent-escapes. An escaped slash is refused, since an intermediary could read it as
/// another path.
fn unescape(path: &str) -> Option<String> {
    let unescaped = String::from_utf8(percent_decode(path)?.into_owned()).ok()?;
    let slashes = |path: &str| path.matches('/').count();
    (slashes(&unescaped) == slashes(path)).then_some(unescaped)
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
