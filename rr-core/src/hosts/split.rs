//! The hosts of a URL and of a configuration, and the URL of each.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};

use rr_http::HttpRequester;
use rr_spi::{Code, Delivery, Error, HostPort, Location};

/// Maximum number of hosts. More belong behind a name with several addresses, or a load balancer.
const HOSTS_MAX: usize = 64;

/// Returns the hosts of a URL, followed by those of the configuration. A unix socket has one host
/// without a name.
///
/// # Errors
///
/// `InvalidArgument`, not sent, for an empty entry, a duplicate, more than 64 hosts, and hosts besides
/// a unix socket.
pub(super) fn hosts(location: &Location, further: &[String]) -> Result<Vec<String>, Error> {
    let authority = location.authority();
    if authority.is_empty() && !further.is_empty() {
        return Err(invalid(
            "a URL without a host cannot have further hosts",
            "leave out `hosts`, or name the first host in an http:// URL",
        ));
    }
    if authority.is_empty() {
        // The requester says what the URL lacks.
        return Ok(vec![String::new()]);
    }
    let written = authority.split(',').chain(further.iter().map(String::as_str));
    let hosts: Vec<String> = written.map(|host| host.trim_ascii().to_owned()).collect();
    if hosts.len() > HOSTS_MAX {
        let message = format!("the URL has {} hosts, more than {HOSTS_MAX}", hosts.len());
        return Err(invalid(message, "use a name with several addresses and `addresses=all`"));
    }
    check(&hosts, if location.scheme() == "https" { 443 } else { 80 })?;
    Ok(hosts)
}

/// Checks that no entry is empty, and that none names the same server as another.
fn check(hosts: &[String], port_default: u16) -> Result<(), Error> {
    let mut known = HashSet::new();
    for host in hosts.iter().filter(|_| hosts.len() > 1) {
        if host.is_empty() {
            return Err(invalid(
                "the list of hosts has an empty entry",
                "separate hosts by single commas, as in http://a:1,b:2/prefix",
            ));
        }
        let parsed = HostPort::parse(host).map_err(|error| {
            let shown = rr_spi::excerpt(host, 64);
            error.with_hint(format!("`{shown}` is not a host: write http://a:1,b:2/prefix"))
        })?;
        let port = parsed.port.unwrap_or(port_default);
        if !known.insert((parsed.host.to_ascii_lowercase(), parsed.zone, port)) {
            let message = format!("the host `{}` is named twice", rr_spi::excerpt(host, 64));
            return Err(invalid(message, "name each host once, in the URL or in `hosts`"));
        }
    }
    Ok(())
}

/// Checks that connections go to addresses of the hosts themselves: a forward proxy looks the names
/// up, so that there is nothing to choose from.
///
/// # Errors
///
/// `InvalidArgument`, not sent, for a requester that uses a forward proxy.
pub(super) fn check_direct<'a>(
    mut requesters: impl Iterator<Item = &'a HttpRequester>,
) -> Result<(), Error> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    match requesters.all(|one| one.at(any).is_ok()) {
        true => Ok(()),
        false => Err(invalid(
            "`addresses=all` has no effect behind a forward proxy, which looks up names itself",
            "leave out `addresses`, or use `proxy=none`",
        )),
    }
}

/// Returns the URL of one host: the scheme and the path of `url`, without its query.
pub(super) fn url_of(url: &str, location: &Location, host: &str) -> String {
    let after = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = after.get(location.authority().len()..).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    format!("{}://{host}{path}", location.scheme())
}

fn invalid(message: impl Into<Cow<'static, str>>, hint: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message).with_hint(hint)
}

/// Makes the error of a wait for no host at all.
pub(super) fn no_host() -> Error {
    invalid("there is no host to wait for", "name at least one host")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts_of(url: &str, further: &[&str]) -> Result<Vec<String>, Error> {
        let further: Vec<_> = further.iter().map(|host| (*host).to_owned()).collect();
        hosts(&Location::parse(url)?, &further)
    }

    #[test]
    fn hosts_of_the_url_come_first_and_each_has_its_own_url() {
        let url = "http://a:1,[::1]:2/api%2D?timeout=1s";
        let hosts = hosts_of(url, &["c", "d:4"]).unwrap();
        assert_eq!(hosts, ["a:1", "[::1]:2", "c", "d:4"]);
        let location = Location::parse(url).unwrap();
        assert_eq!(url_of(url, &location, "c"), "http://c/api%2D");
        assert_eq!(
            url_of("http://a?x=1", &Location::parse("http://a?x=1").unwrap(), "a"),
            "http://a"
        );
        let unix = "http+unix:///run/a.sock?timeout=1s";
        assert_eq!(hosts_of(unix, &[]).unwrap(), [""]);
        assert_eq!(url_of(unix, &Location::parse(unix).unwrap(), ""), "http+unix:///run/a.sock");
    }

    #[test]
    fn bad_lists_are_refused_with_a_hint() {
        let many: Vec<String> = (0..65).map(|at| format!("h{at}")).collect();
        let many = format!("http://{}", many.join(","));
        for (url, further, text) in [
            ("http://a,,b", &[][..], "empty entry"),
            ("http://a,", &[], "empty entry"),
            ("http://,a", &[], "empty entry"),
            ("http://a", &[""], "empty entry"),
            ("http://a,b:x", &[], "port"),
            ("http://a,b,A:80", &[], "`A:80` is named twice"),
            ("https://a", &["a:443"], "`a:443` is named twice"),
            ("http+unix:///a", &["b"], "without a host"),
            (&many, &[], "65 hosts"),
        ] {
            let error = hosts_of(url, further).unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::InvalidArgument, Delivery::NotSent)
            );
            assert!(error.message().contains(text), "{url}: {error}");
            assert!(!error.hint().is_empty());
        }
    }
}
