//! Origins of web pages that may call a server.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::HeaderValue;
use rr_spi::{Code, Delivery, Error, HostPort};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// Form of an origin, for people whose text has another one.
const HINT: &str = "an origin looks like `https://shop.example` or `http://127.0.0.1:5173`: scheme, \
                    host and port, without a path; `*` stands alone and allows every origin";

/// Origins of web pages that may call a server: none, some, or all.
///
/// Text has the origins separated by commas, `*` for all, or nothing for none. Files may also have
/// a list of texts. An origin is `scheme://host` with an optional port (RFC 6454 §6.2). It is
/// stored as browsers send it: in lower case, and without the default port of its scheme.
///
/// # Examples
///
/// ```
/// use rr_http::{HttpOrigins, HttpServerConfig};
///
/// let pages: HttpOrigins = "https://shop.example,http://127.0.0.1:5173".parse()?;
/// assert_eq!(pages, HttpOrigins::list(["HTTPS://Shop.Example:443", "http://127.0.0.1:5173"])?);
/// let config = HttpServerConfig::default().with_cors_origins(pages);
///
/// let error = "https://shop.example/".parse::<HttpOrigins>().unwrap_err();
/// assert!(error.hint().contains("without a path"));
/// # drop(config);
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpOrigins(Allowed);

#[derive(Clone, Default, PartialEq, Eq)]
enum Allowed {
    #[default]
    None,
    All,
    Some(Vec<HeaderValue>),
}

impl HttpOrigins {
    /// Allows the pages of every origin.
    #[must_use]
    pub const fn all() -> Self {
        Self(Allowed::All)
    }

    /// Allows the pages of these origins; none of them is `*`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when one of them is not an origin.
    pub fn list<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let mut list = Vec::new();
        for origin in origins {
            let origin = parse(origin.as_ref())?;
            if !list.contains(&origin) {
                list.push(origin);
            }
        }
        Ok(Self(if list.is_empty() { Allowed::None } else { Allowed::Some(list) }))
    }

    /// Returns whether no origin is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == Allowed::None
    }

    /// Returns the value of `access-control-allow-origin` for a page of this origin; `None` if the
    /// page may not call.
    pub(crate) fn grant(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match &self.0 {
            Allowed::None => None,
            Allowed::All => Some(HeaderValue::from_static("*")),
            Allowed::Some(list) => list.iter().find(|known| *known == origin).cloned(),
        }
    }
}

impl FromStr for HttpOrigins {
    type Err = Error;

    /// Parses origins that are separated by commas, or `*`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim_ascii() {
            "" => Ok(Self(Allowed::None)),
            "*" => Ok(Self(Allowed::All)),
            list => Self::list(list.split(',')),
        }
    }
}

impl fmt::Display for HttpOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Allowed::None => Ok(()),
            Allowed::All => f.write_str("*"),
            Allowed::Some(list) => {
                let list: Vec<_> = list.iter().filter_map(|origin| origin.to_str().ok()).collect();
                f.write_str(&list.join(","))
            }
        }
    }
}

impl fmt::Debug for HttpOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpOrigins({self})")
    }
}

impl<'de> Deserialize<'de> for HttpOrigins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList)
    }
}

struct TextOrList;

impl<'de> Visitor<'de> for TextOrList {
    type Value = HttpOrigins;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("origins as a list, as text with commas, or `*`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HttpOrigins, E> {
        text.parse().map_err(|error| unfit(&error))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<HttpOrigins, A::Error> {
        let mut list: Vec<String> = Vec::new();
        while let Some(text) = texts.next_element()? {
            list.push(text);
        }
        match &list[..] {
            [all] if all == "*" => Ok(HttpOrigins::all()),
            list => HttpOrigins::list(list).map_err(|error| unfit(&error)),
        }
    }
}

/// Returns serde's error for a text that is not an origin.
fn unfit<E: serde::de::Error>(error: &Error) -> E {
    E::custom(format_args!("{}: {}", error.message(), error.hint()))
}

/// Parses one origin, and returns it as browsers send it.
fn parse(text: &str) -> Result<HeaderValue, Error> {
    let text = text.trim_ascii();
    let serialized = serialize(text).and_then(|origin| HeaderValue::try_from(origin).ok());
    serialized.ok_or_else(|| {
        let message = format!("`{}` is not an origin", rr_spi::excerpt(text, 64));
        Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message).with_hint(HINT)
    })
}

/// Returns an origin as browsers send it; `None` if the text is not an origin.
fn serialize(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        || !scheme.bytes().all(is_of_scheme)
    {
        return None;
    }
    let HostPort { host, zone, is_ipv6, port, .. } = HostPort::parse(authority).ok()?;
    if !zone.is_empty() {
        return None;
    }
    let host = match is_ipv6 {
        true => format!("[{}]", host.parse::<Ipv6Addr>().ok()?),
        false => host.to_ascii_lowercase(),
    };
    Some(match (&*scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::Location;
    use serde::de::value::{Error as Unfit, SeqDeserializer};

    use super::*;
    use crate::config::{HttpConfig, HttpServerConfig};

    fn of_url(value: &str) -> Result<HttpOrigins, Error> {
        let location = Location::parse(&format!("http://h?cors_origins={value}"))?;
        let ends = location.configure(HttpConfig::default(), HttpServerConfig::default())?;
        Ok(ends.1.cors_origins)
    }

    fn grant(origins: &HttpOrigins, origin: &'static str) -> Option<HeaderValue> {
        origins.grant(&HeaderValue::from_static(origin))
    }

    #[test]
    fn a_url_allows_none_some_or_all() {
        assert!(
            HttpServerConfig::default().cors_origins.is_empty() && of_url("").unwrap().is_empty()
        );
        assert_eq!(of_url("*").unwrap(), HttpOrigins::all());
        let some = of_url("https://a.example,%20http://b.example:8080").unwrap();
        assert_eq!(some.to_string(), "https://a.example,http://b.example:8080");
        assert_eq!(format!("{some:?}"), "HttpOrigins(https://a.example,http://b.example:8080)");
    }

    #[test]
    fn a_file_may_have_a_list_or_text() {
        let list = |texts: &[&'static str]| {
            let texts = SeqDeserializer::<_, Unfit>::new(texts.iter().copied());
            HttpOrigins::deserialize(texts)
        };
        let json = |text| serde_json::from_str::<HttpServerConfig>(text);
        assert_eq!(list(&["*"]).unwrap(), HttpOrigins::all());
        assert!(list(&[]).unwrap().is_empty());
        let listed = json(r#"{"cors_origins":["https://a.example","https://b.example"]}"#).unwrap();
        let text = json(r#"{"cors_origins":"https://a.example,https://b.example"}"#).unwrap();
        assert_eq!(listed, text);
        assert!(
            list(&["*", "https://a.example"]).is_err() && json(r#"{"cors_origins":7}"#).is_err()
        );
    }

    #[test]
    fn an_origin_is_kept_as_browsers_send_it() {
        for (text, sent) in [
            ("https://shop.example", "https://shop.example"),
            ("HTTPS://Shop.Example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://shop.example:443", "http://shop.example:443"),
            ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
            ("http://[0:0:0:0:0:0:0:1]:5173", "http://[::1]:5173"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            let origins: HttpOrigins = text.parse().unwrap();
            assert_eq!(origins.to_string(), sent);
            assert_eq!(grant(&origins, sent).unwrap(), sent);
            assert_eq!(grant(&origins, "https://other.example"), None);
        }
        let twice: HttpOrigins = "http://a.example,HTTP://A.example:80".parse().unwrap();
        assert_eq!(twice.to_string(), "http://a.example");
    }

    #[test]
    fn a_text_that_is_not_an_origin_is_refused_with_the_good_form() {
        for text in [
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/path",
            "https://shop.example:0x1",
            "https://user@shop.example",
            "https://*.shop.example",
            "https://a.example,",
            "https://a.example,*",
            "*,*",
            "null",
            "://shop.example",
            "1a://shop.example",
            "http://[fe80::1%25eth0]",
            "https://sh\u{f6}p.example",
        ] {
            let error = text.parse::<HttpOrigins>().unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::InvalidArgument, Delivery::NotSent)
            );
            assert!(error.hint().contains("`https://shop.example`"), "{text}");
            let error = of_url(&text.replace('%', "%25")).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{text}");
            assert!(error.hint().contains("`https://shop.example`"), "{text}: {}", error.hint());
        }
    }

    #[test]
    fn what_is_no_listed_origin_is_granted_nothing() {
        let some: HttpOrigins = "https://a.example".parse().unwrap();
        for origin in ["", "null", "https://a.example.evil", "https://a.example:443", "*"] {
            assert_eq!(grant(&some, origin), None, "{origin}");
            assert_eq!(grant(&HttpOrigins::default(), origin), None, "{origin}");
            assert_eq!(grant(&HttpOrigins::all(), origin).unwrap(), "*", "{origin}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in "([a-z]{0,5}://)?[ -~]{0,20}") {
            if let Ok(origins) = text.parse::<HttpOrigins>() {
                let again: HttpOrigins = origins.to_string().parse().unwrap();
                prop_assert_eq!(again, origins);
            }
        }
    }
}
