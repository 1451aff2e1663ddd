//! The forward proxy of a requester.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rr_spi::wire::percent_decode;
use rr_spi::{Code, Delivery, Error, HostPort};
use serde::de::{Deserialize, Deserializer, Visitor};

/// Form of a proxy, for people whose text has another one.
const HINT: &str = "a proxy looks like `http://user:password@host:3128`; `env` reads the environment \
                    variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; `none` means no proxy";

/// Port of a proxy whose URL gives no port (RFC 9110 §4.2.1).
const PORT_DEFAULT: u16 = 80;

/// Forward proxy of a requester: none, one by its URL, or the one that the environment names.
///
/// Text has the URL `http://user:password@host:port`, `none`, or with the feature `proxy-env` `env`.
/// The credentials are optional and may be percent-encoded; `Debug` does not show them. In the query
/// of a URL, the text is encoded once more: a password `a@b` is `a%40b` in the proxy's URL, and
/// `a%2540b` in `proxy=` of the server's.
///
/// # Examples
///
/// ```
/// use rr_http::{HttpConfig, HttpProxy};
///
/// let proxy: HttpProxy = "http://orders:secret@tunnel.example:3128".parse()?;
/// assert_eq!(format!("{proxy:?}"), "HttpProxy(http://***@tunnel.example:3128)");
/// let config = HttpConfig::default().with_proxy(proxy);
/// # drop(config);
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpProxy(Choice);

#[derive(Clone, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    None,
    #[cfg(feature = "proxy-env")]
    Environment,
    Server(ProxyServer),
}

/// Address and credentials of a proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProxyServer {
    /// Name or address; with the zone of an IPv6 address, and without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Value of `proxy-authorization`.
    pub(crate) authorization: Option<HeaderValue>,
}

impl HttpProxy {
    /// Uses no proxy, whatever the environment says.
    #[must_use]
    pub const fn none() -> Self {
        Self(Choice::None)
    }

    /// Uses the proxy that the environment variables name when the requester is made: `HTTP_PROXY` or
    /// `HTTPS_PROXY` by the scheme of the URL, otherwise `ALL_PROXY`, in capitals or small letters.
    /// Hosts that `NO_PROXY` lists are reached directly.
    #[cfg(feature = "proxy-env")]
    #[must_use]
    pub const fn from_env() -> Self {
        Self(Choice::Environment)
    }

    /// Returns the proxy for a server.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the environment names a proxy that is not `http://`.
    #[cfg_attr(
        not(feature = "proxy-env"),
        expect(unused_variables, reason = "the environment alone distinguishes servers")
    )]
    pub(crate) fn server_for(
        &self,
        scheme: &str,
        authority: &str,
    ) -> Result<Option<ProxyServer>, Error> {
        match &self.0 {
            Choice::None => Ok(None),
            Choice::Server(server) => Ok(Some(server.clone())),
            #[cfg(feature = "proxy-env")]
            Choice::Environment => {
                let matcher = hyper_util::client::proxy::matcher::Matcher::from_env();
                of_environment(&matcher, scheme, authority)
            }
        }
    }
}

#[cfg(feature = "proxy-env")]
fn of_environment(
    matcher: &hyper_util::client::proxy::matcher::Matcher,
    scheme: &str,
    authority: &str,
) -> Result<Option<ProxyServer>, Error> {
    let Ok(uri) = http::Uri::try_from(format!("{scheme}://{authority}/")) else { return Ok(None) };
    let Some(found) = matcher.intercept(&uri) else { return Ok(None) };
    let proxy = found.uri();
    if proxy.scheme_str() != Some("http") {
        return Err(invalid("the environment names a proxy that is not http://"));
    }
    let authority = proxy.authority().map_or("", |authority| authority.as_str());
    let mut server = ProxyServer::at(authority)?;
    server.authorization = found.basic_auth().cloned();
    Ok(Some(server))
}

impl ProxyServer {
    fn at(authority: &str) -> Result<Self, Error> {
        let HostPort { host, zone, port, .. } =
            HostPort::parse(authority).map_err(|error| error.with_hint(HINT))?;
        let host = if zone.is_empty() { host.to_owned() } else { format!("{host}%{zone}") };
        Ok(Self { host, port: port.unwrap_or(PORT_DEFAULT), authorization: None })
    }

    fn with_credentials(self, credentials: &str) -> Result<Self, Error> {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let mut plain = decoded(user)?.into_owned();
        // The user must not contain it (RFC 7617 §2).
        if plain.contains(&b':') {
            return Err(invalid("the user of the proxy has a colon"));
        }
        plain.push(b':');
        plain.extend_from_slice(&decoded(password)?);
        let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain)));
        let mut value = value.map_err(|_| invalid("the credentials of the proxy fit no header"))?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }
}

/// Decodes percent-escapes.
fn decoded(text: &str) -> Result<Cow<'_, [u8]>, Error> {
    percent_decode(text).ok_or_else(|| invalid("the proxy's URL has a broken percent-escape"))
}

fn invalid(message: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message).with_hint(HINT)
}

impl FromStr for HttpProxy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let url = match text.trim_ascii() {
            "none" => return Ok(Self::none()),
            #[cfg(feature = "proxy-env")]
            "env" => return Ok(Self::from_env()),
            #[cfg(not(feature = "proxy-env"))]
            "env" => return Err(invalid("`env` needs the feature `proxy-env`")),
            url => url,
        };
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| invalid("the proxy is not a URL"))?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(invalid("the proxy is not http://"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A password may contain an `@`.
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        let server = ProxyServer::at(authority)?;
        let server = match credentials {
            Some(credentials) => server.with_credentials(credentials)?,
            None => server,
        };
        Ok(Self(Choice::Server(server)))
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.authorization.is_some() { "***@" } else { "" };
        match self.host.contains(':') {
            true => write!(f, "http://{hidden}[{}]:{}", self.host, self.port),
            false => write!(f, "http://{hidden}{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::None => f.write_str("HttpProxy(none)"),
            #[cfg(feature = "proxy-env")]
            Choice::Environment => f.write_str("HttpProxy(env)"),
            Choice::Server(server) => write!(f, "HttpProxy({server:?})"),
        }
    }
}

impl<'de> Deserialize<'de> for HttpProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = HttpProxy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the URL of a proxy as text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HttpProxy, E> {
        // Neither the message nor the hint repeats the text, which may have a password.
        let unfit = |error: Error| E::custom(format_args!("{}: {}", error.message(), error.hint()));
        text.parse().map_err(unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> ProxyServer {
        let proxy: HttpProxy = url.parse().unwrap();
        proxy.server_for("http", "h").unwrap().unwrap()
    }

    #[test]
    fn a_url_gives_host_port_and_credentials() {
        let plain = server("http://tunnel.example:3128");
        assert_eq!((&*plain.host, plain.port, plain.authorization), ("tunnel.example", 3128, None));
        assert_eq!(server("HTTP://p/").port, 80);
        assert_eq!(server("http://[fe80::1%eth0]:1").host, "fe80::1%eth0");
        for (credentials, plain) in [
            ("user:pass", "user:pass"),
            ("user", "user:"),
            ("user:p@s:s", "user:p@s:s"),
            ("us%65r:p%3A%2f%25", "user:p:/%"),
        ] {
            let found = server(&format!("http://{credentials}@p:1")).authorization.unwrap();
            assert_eq!(found, format!("Basic {}", STANDARD.encode(plain)), "{credentials}");
            assert!(found.is_sensitive());
        }
        assert_eq!("none".parse::<HttpProxy>().unwrap(), HttpProxy::none());
    }

    #[test]
    fn a_malformed_proxy_is_refused_without_its_password() {
        for bad in [
            "",
            "proxy:3128",
            "https://user:hunter2@p",
            "socks5://user:hunter2@p",
            "http://user:hunter2@",
            "http://user:hunter2@p:x",
            "http://user:hunter2@p/path",
            "http://user:hunter2%zz@p",
            "http://us%3Aer:hunter2@p",
        ] {
            let error = bad.parse::<HttpProxy>().unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::InvalidArgument, Delivery::NotSent)
            );
            assert!(error.hint().contains("host:3128"), "{bad}");
            let shown = format!("{error} {error:?} {}", error.hint());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let shown = format!("{:?}", "http://user:hunter2@p".parse::<HttpProxy>().unwrap());
        assert_eq!(shown, "HttpProxy(http://***@p:80)");
    }

    #[cfg(feature = "proxy-env")]
    #[test]
    fn the_environment_names_a_proxy_by_scheme_but_not_for_excluded_hosts() {
        let builder = hyper_util::client::proxy::matcher::Matcher::builder();
        let builder = builder.http("http://u:p@plain:1").https("secure:2").no("direct, 10.0.0.0/8");
        let matcher = builder.build();
        let found = |scheme: &str, host: &str| of_environment(&matcher, scheme, host).unwrap();
        let plain = found("http", "a:8080").unwrap();
        assert_eq!((&*plain.host, plain.port), ("plain", 1));
        assert_eq!(plain.authorization.unwrap(), format!("Basic {}", STANDARD.encode("u:p")));
        assert_eq!(found("https", "a").unwrap().host, "secure");
        assert_eq!(found("http", "direct:8080"), None);
        assert_eq!(found("http", "10.1.2.3:8080"), None);
        let socks = hyper_util::client::proxy::matcher::Matcher::builder().all("socks5://p:1");
        let error = of_environment(&socks.build(), "http", "a").unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
}
