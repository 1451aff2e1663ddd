//! Decision whether a caller may see the page.

use rr_spi::{Code, Context, Error, Headers};

/// Headers that a request has if a proxy passed it on, or a web page of another origin sent it. They
/// can only take access away.
const OF_OTHERS: [&str; 7] = [
    "forwarded",
    "origin",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Checks that the request comes from this machine, directly.
///
/// # Errors
///
/// `PermissionDenied` otherwise.
pub(super) fn check(ctx: &Context) -> Result<(), Error> {
    decide(ctx.is_caller_local(), ctx.request().headers())
}

fn decide(is_caller_local: bool, headers: &Headers) -> Result<(), Error> {
    let passed_on = OF_OTHERS.into_iter().find(|name| headers.contains(name));
    let text = match passed_on {
        _ if !is_caller_local => {
            "this page is for callers on its machine that name it localhost or by an address".into()
        }
        Some(header) => format!("this page is not for requests with the header `{header}`"),
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
        for name in OF_OTHERS {
            let mut headers = Headers::new();
            headers.insert(name, "127.0.0.1").unwrap();
            assert!(decide(false, &headers).is_err(), "{name}");
            let error = decide(true, &headers).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }
}
