//! Decision whether a caller may see the page.

use rr_spi::{Code, Context, Error, Headers, Peer};

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
    let request = ctx.request();
    decide(request.peer(), request.headers())
}

fn decide(peer: Option<&Peer>, headers: &Headers) -> Result<(), Error> {
    let passed_on = OF_OTHERS.into_iter().find(|name| headers.contains(name));
    let text = match passed_on {
        _ if !peer.is_some_and(Peer::is_local) => {
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
    use std::net::SocketAddr;

    use super::*;

    fn at(address: &str) -> Peer {
        Peer::new().with_address(address.parse::<SocketAddr>().unwrap())
    }

    #[test]
    fn only_callers_on_this_machine_see_the_page() {
        let none = Headers::new();
        for local in [at("127.0.0.2:9"), at("[::1]:9"), at("[::ffff:127.0.0.1]:9")] {
            assert!(decide(Some(&local), &none).is_ok(), "{local:?}");
        }
        assert!(decide(Some(&Peer::new().as_local()), &none).is_ok());
        let remote = [at("192.0.2.7:9"), at("[2001:db8::1]:9"), at("127.0.0.1:9").as_remote()];
        for peer in remote.iter().map(Some).chain([None, Some(&Peer::new())]) {
            let error = decide(peer, &none).unwrap_err();
            assert_eq!(error.code(), Code::PermissionDenied, "{peer:?}");
            assert!(error.hint().contains("open_to_all"), "{}", error.hint());
        }
    }

    #[test]
    fn a_header_gives_no_access_and_can_take_it_away() {
        let mut headers = Headers::new();
        headers.insert("x-forwarded-for", "127.0.0.1").unwrap();
        assert!(decide(Some(&at("192.0.2.7:9")), &headers).is_err());
        for name in OF_OTHERS {
            let mut headers = Headers::new();
            headers.insert(name, "127.0.0.1").unwrap();
            let error = decide(Some(&at("127.0.0.1:9")), &headers).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }
}
