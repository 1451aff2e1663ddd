//! Decision whether a caller may see the page.

use rr_spi::{Code, Context, Error, Headers, excerpt};

/// Headers that a request has if a proxy passed it on, or a web page of another origin sent it,
/// besides those that begin with [`OF_PROXIES`]. They can only take access away.
const OF_OTHERS: [&str; 9] = [
    "cf-connecting-ip",
    "forwarded",
    "origin",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-envoy-external-address",
    "x-original-forwarded-for",
    "x-real-ip",
];

/// Beginning of the names that proxies give to what they know of the caller.
const OF_PROXIES: &str = "x-forwarded";

/// Longest name of a header that a refusal quotes, in characters; all known names are shorter.
const HEADER_CHARS_MAX: usize = 64;

/// Header in which a browser states which page made it ask.
const FETCH_SITE: &str = "sec-fetch-site";

/// Returns whether the header shows that a proxy passed the request on, or that a web page sent it.
fn is_of_others(name: &str) -> bool {
    OF_OTHERS.contains(&name) || name.starts_with(OF_PROXIES)
}

/// Returns whether a web page of another origin made a browser load this one into itself.
///
/// A person who follows a link loads the page into a tab, where no other page can read it. The links
/// on the page need this too: its sandbox makes its origin differ from the server's.
fn is_loaded_elsewhere(headers: &Headers) -> bool {
    let mut sites = headers.get_all(FETCH_SITE);
    let is_link = headers.get("sec-fetch-mode") == Some("navigate")
        && headers.get("sec-fetch-dest") == Some("document");
    !is_link && sites.any(|site| !matches!(site, "none" | "same-origin"))
}

/// Checks that the request comes from this machine, directly.
///
/// # Errors
///
/// `PermissionDenied` otherwise.
pub(super) fn check(ctx: &Context) -> Result<(), Error> {
    decide(ctx.is_caller_local(), ctx.request().headers())
}

fn decide(is_caller_local: bool, headers: &Headers) -> Result<(), Error> {
    let of_others = headers.iter().map(|(name, _)| name).find(|name| is_of_others(name));
    let of_others = of_others.or_else(|| is_loaded_elsewhere(headers).then_some(FETCH_SITE));
    let text = match of_others {
        _ if !is_caller_local => {
            "this page is for callers on its machine that name it localhost or by an address".into()
        }
        Some(name) => {
            let name = excerpt(name, HEADER_CHARS_MAX);
            format!("this page is not for requests with the header `{name}`")
        }
        None => return Ok(()),
    };
    Err(Error::new(Code::PermissionDenied, text).with_hint(
        "ask from the machine of the server, without a proxy, or open the page with `Admin::open_to_all`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_callers_on_this_machine_see_the_page() {
        let none = Headers::new();
        assert!(decide(true, &none).is_ok());
        let error = decide(false, &none).unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        assert!(error.hint().contains("open_to_all"), "{}", error.hint());
    }

    #[test]
    fn a_header_gives_no_access_and_can_take_it_away() {
        let by_prefix =
            ["x-forwarded", "x-forwarded-for", "x-forwarded-port", "x-forwarded-prefix"];
        for name in OF_OTHERS.into_iter().chain(by_prefix) {
            let mut headers = Headers::new();
            headers.insert(name, "127.0.0.1").unwrap();
            assert!(decide(false, &headers).is_err(), "{name}");
            let error = decide(true, &headers).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn a_browser_shows_the_page_in_a_tab_and_to_no_page_of_another_origin() {
        let seen = |fetched: &[(&'static str, &'static str)]| {
            let mut headers = Headers::new();
            fetched.iter().for_each(|(name, value)| headers.append(*name, *value).unwrap());
            decide(true, &headers).is_ok()
        };
        let (mode, dest) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
        for site in ["none", "same-origin"] {
            assert!(seen(&[(FETCH_SITE, site)]), "{site}");
        }
        for site in ["same-site", "cross-site", "unheard-of", ""] {
            assert!(!seen(&[(FETCH_SITE, site)]), "{site}");
            assert!(!seen(&[(FETCH_SITE, "none"), (FETCH_SITE, site)]), "{site}");
            assert!(!seen(&[(FETCH_SITE, site), mode, ("sec-fetch-dest", "iframe")]), "{site}");
            assert!(!seen(&[(FETCH_SITE, site), ("sec-fetch-mode", "no-cors"), dest]), "{site}");
            assert!(seen(&[(FETCH_SITE, site), mode, dest]), "{site}: a link");
        }
    }
}
