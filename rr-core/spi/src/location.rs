//! Splits a transport's URL into its parts, without interpreting them.

use std::fmt;

use crate::error::Error;
use crate::excerpt::excerpt;
use crate::wire::percent_decode;

/// Parts of a transport's URL: `scheme://authority/path?key=value`.
///
/// The path and the query are percent-decoded; the authority stays as it is written. `Debug` hides
/// the text before an `@`, as it may be a password.
///
/// # Examples
///
/// ```
/// let location = rr_spi::Location::parse("http://127.0.0.1:8080/api?version=h2c")?;
/// assert_eq!(location.scheme(), "http");
/// assert_eq!(location.authority(), "127.0.0.1:8080");
/// assert_eq!(location.path(), "/api");
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    scheme: String,
    authority: String,
    path: String,
    query: Vec<(String, String)>,
}

/// Longest accepted URL in bytes; a longer URL is a mistake.
const URL_BYTES_MAX: usize = 8 * 1024;

impl Location {
    /// Splits a URL.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the URL has no `scheme://`, has a fragment, has a broken
    /// percent-escape, has a query with a repeated key or a part without `=`, or is longer than 8
    /// KiB.
    pub fn parse(url: &str) -> Result<Self, Error> {
        if url.len() > URL_BYTES_MAX {
            return Err(invalid("the URL is longer than 8 KiB"));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(invalid("the URL has no `scheme://`"));
        };
        let scheme_fits = !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !scheme_fits {
            return Err(invalid("the URL's scheme is malformed"));
        }
        if rest.contains('#') {
            return Err(invalid("the URL has a fragment, which means nothing here"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: authority.to_owned(),
            path: decode(path)?,
            query: parse_query(query)?,
        })
    }

    /// Returns the scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the text between `//` and the path, as it is written.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the path, decoded; empty or with a leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the names and values of the query, decoded, in the order of the URL.
    pub fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses options of TLS in the query, for URLs whose connections the transport does not encrypt:
    /// a caller that sets them expects encryption.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name of a parameter begins with `tls_`. The hint should
    /// name the URL to use instead.
    pub fn check_no_tls(&self) -> Result<(), Error> {
        match self.query().find(|(name, _)| name.starts_with("tls_")) {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid_argument(format!(
                "parameter `{}` is for connections that rr encrypts",
                excerpt(name, 64)
            ))),
        }
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid_argument(message)
        .with_hint("a URL looks like `scheme://host:port/prefix?key=value`")
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, Error> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            return Err(invalid("a query parameter has no `=`"));
        };
        let (key, value) = (decode(key)?, decode(value)?);
        if pairs.iter().any(|(known, _)| *known == key) {
            return Err(invalid(format!("parameter `{}` is repeated", key.escape_debug())));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Decodes percent-escapes; the result must be UTF-8.
fn decode(text: &str) -> Result<String, Error> {
    let bytes =
        percent_decode(text).ok_or_else(|| invalid("the URL has a broken percent-escape"))?;
    let text = String::from_utf8(bytes.into_owned());
    text.map_err(|_| invalid("the URL's escapes are not UTF-8"))
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Location");
        shown.field("scheme", &self.scheme);
        // A password with a slash or a question mark is split into the path or the query.
        let query = self.query.iter().flat_map(|(key, value)| [key, value]);
        if query.chain([&self.path]).any(|text| text.contains('@')) {
            return shown.finish_non_exhaustive();
        }
        let authority = match self.authority.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => self.authority.clone(),
        };
        let keys: Vec<_> = self.query.iter().map(|(key, _)| key.as_str()).collect();
        shown
            .field("authority", &authority)
            .field("path", &self.path)
            .field("query", &keys)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Code;

    #[test]
    fn parts_are_split_and_decoded() {
        let location = Location::parse("HTTP://u:p@h:1/a%20b?k=v%3d1+2&x=").unwrap();
        assert_eq!(location.scheme(), "http");
        assert_eq!(location.authority(), "u:p@h:1");
        assert_eq!(location.path(), "/a b");
        assert_eq!(location.query().collect::<Vec<_>>(), [("k", "v=1+2"), ("x", "")]);
    }

    #[test]
    fn options_of_tls_are_told_by_name() {
        let location = |url: &str| Location::parse(url).unwrap();
        assert!(location("nats://h?name=tls_roots").check_no_tls().is_ok());
        let error = location("nats://h?name=a&tls_roots=secret").check_no_tls().unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("`tls_roots`") && !error.message().contains("secret"));
        let long = location(&format!("http://h?tls_{}=x", "a".repeat(1000)));
        assert!(long.check_no_tls().unwrap_err().message().len() < 200);
    }

    #[test]
    fn debug_hides_credentials() {
        for url in [
            "nats://user:secret@host/team",
            "nats://user:secret/secret@host/team",
            "nats://user:secret?secret=secret@host/team",
        ] {
            let shown = format!("{:?}", Location::parse(url).unwrap());
            assert!(!shown.contains("secret") && shown.contains("nats"), "{shown}");
        }
        let shown = format!("{:?}", Location::parse("nats://u:p@host/team?name=x").unwrap());
        let expected = r#"authority: "***@host", path: "/team", query: ["name"]"#;
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn broken_urls_are_refused() {
        for bad in ["", "x", "://x", "ht tp://x", "a://b?c", "a://b?c=1&c=2", "a://b/%g", "a://b#c"]
        {
            assert_eq!(Location::parse(bad).unwrap_err().code(), Code::InvalidArgument, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "\\PC{0,60}") {
            let _ = Location::parse(&text);
        }
    }
}
