//! The URL of a server, which may contain a password.

use std::fmt;
use std::ops::Deref;

use crate::excerpt::shown_value;

/// URL at which a server is called, including credentials and query.
///
/// The URL dereferences to `str`, so that `connect(server.url())` works. `Display` and `Debug`, and
/// so `to_string`, are for logs: they show `***` in place of the credentials.
/// [`as_str`](Self::as_str) returns the whole text.
///
/// # Examples
///
/// ```
/// # mod rr_core { pub mod transport { pub use rr_spi::*; } }
/// let url = rr_core::transport::ServerUrl::from("nats://orders:secret@host:4222/team".to_owned());
/// assert_eq!(url.to_string(), "nats://***@host:4222/team");
/// assert_eq!(url.as_str(), "nats://orders:secret@host:4222/team");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Returns the whole URL, including its credentials.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a copy of the whole URL, including its credentials, as `str::to_owned` would.
    #[must_use]
    pub fn to_owned(&self) -> String {
        self.0.clone()
    }
}

impl From<String> for ServerUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl Deref for ServerUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ServerUrl {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for ServerUrl {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for &ServerUrl {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        // A password may contain a slash or an `@`, so the text before the last `@` is hidden.
        let shown = before
            .split_once("://")
            // Without an authority, as with the path of a Unix socket, there are no credentials.
            .filter(|(_, rest)| !rest.starts_with('/'))
            .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)));
        match shown {
            Some((scheme, rest)) => write!(f, "{scheme}://***@{rest}")?,
            None => f.write_str(before)?,
        }
        for (at, parameter) in query.split('&').filter(|_| !query.is_empty()).enumerate() {
            f.write_str(if at == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((name, value)) => write!(f, "{name}={}", shown_value(name, value))?,
                None => f.write_str(parameter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_without_credentials_is_shown_as_it_is() {
        for url in ["http://h:1/a?x=y", "nats://a,b", "memory://x", "", "h@x", "http+unix:///a@b"] {
            assert_eq!(ServerUrl::from(url.to_owned()).to_string(), url);
        }
    }

    #[test]
    fn the_credentials_of_a_url_in_the_query_are_hidden() {
        let url = "http://h:1/a?idle_max=3&proxy=http://user:hunter2&y=z:hunter2@p:1&x";
        let shown = ServerUrl::from(url.to_owned()).to_string();
        assert_eq!(shown, "http://h:1/a?idle_max=3&proxy=***&y=***@p:1&x");
    }

    proptest! {
        #[test]
        fn a_password_is_never_shown(
            secret in "([a-z:@%][a-z:@/%]{0,8})?hunter2[a-z:@/%]{0,9}",
            path in "(/[a-z]{1,5})?",
            query in "(\\?[a-z]{1,4}=[a-z]{0,5})?",
        ) {
            let url = ServerUrl::from(format!("nats://user:{secret}@h:1{path}{query}"));
            prop_assert_eq!(url.to_string(), format!("nats://***@h:1{path}{query}"));
            prop_assert_eq!(format!("{url:?}"), format!("\"nats://***@h:1{path}{query}\""));
        }
    }
}
