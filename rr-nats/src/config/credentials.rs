//! Credentials of a connection, and the answers of an auth callback.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use rr_spi::options::Options;
use rr_spi::{Bytes, Error};
use serde::Deserialize;
use serde::de::Error as _;
use serde::de::value::Error as Unfit;

#[cfg(feature = "nkeys")]
use super::keys;

/// Credentials of a connection. `Debug` hides them.
///
/// Files and callbacks are read again for every connection, so that credentials that change while a
/// requester or a server runs are followed: put the new ones in place before the old ones expire.
/// Nkeys and files need the feature `nkeys`; without it, a URL or a configuration that has them is
/// refused. A path that looks like a seed, a JWT or the text of a file is refused as well, and not
/// shown; `./` before such a name makes it a path.
///
/// # Examples
///
/// ```
/// use rr_nats::NatsCredentials;
///
/// let credentials = NatsCredentials::CredentialsFile("/run/secrets/orders.creds".into());
/// let token = NatsCredentials::Token("t0ken".to_owned());
/// assert_eq!(format!("{token:?}"), "Token(***)");
/// # drop(credentials);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NatsCredentials {
    /// No credentials, for servers that do not require any.
    #[default]
    None,
    /// A user and a password.
    UserPassword {
        /// The name of the user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of a user's nkey, which begins with `SU`. The server knows the public key.
    Nkey(String),
    /// File that holds the seed of a user's nkey, at most 64 KiB.
    NkeyFile(PathBuf),
    /// Credentials file with the JWT of a user and the seed of its nkey, as `nsc` writes it, at most
    /// 64 KiB.
    CredentialsFile(PathBuf),
    /// A function that authenticates each connection.
    #[serde(skip)]
    Callback(NatsAuthCallback),
}

impl NatsCredentials {
    /// Authenticates each connection by a function, which gets the nonce of the server, to be
    /// signed.
    ///
    /// The function is called for every connection, reconnects included, so that it can return a
    /// short-lived JWT or token. It may wait; its time counts towards
    /// [`connect_timeout`](crate::NatsConnectionConfig::connect_timeout), at the end of which its
    /// future is dropped. If it fails or panics, the connection is not made, and the next attempt
    /// calls it again. An error of code `Unauthenticated`, `PermissionDenied` or
    /// `FailedPrecondition` is told to calls immediately, any other once the connection has been
    /// waited for. It is called besides for the short connections over which a server is asked for
    /// the message limit of the user, once a message was too long.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_nats::{NatsAuth, NatsConnectionConfig, NatsCredentials};
    ///
    /// let credentials = NatsCredentials::callback(|_nonce| async {
    ///     let token = String::from("from a vault");
    ///     Ok(NatsAuth::default().with_token(token))
    /// });
    /// let connection = NatsConnectionConfig::default().with_credentials(credentials);
    /// # drop(connection);
    /// ```
    pub fn callback<F, T>(answer: F) -> Self
    where
        F: Fn(Bytes) -> T + Send + Sync + 'static,
        T: Future<Output = Result<NatsAuth, Error>> + Send + 'static,
    {
        Self::Callback(NatsAuthCallback(Arc::new(move |nonce| Box::pin(answer(nonce)))))
    }

    /// Returns what to do when a server refuses these credentials.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::None | Self::UserPassword { .. } | Self::Token(_) => {
                "the NATS server refused the credentials: put them right there, or in the URL, as \
                 in `nats://user:password@host`"
            }
            Self::Nkey(_) | Self::NkeyFile(_) => {
                "the NATS server refused the nkey: its configuration lists the public key, `U...`, \
                 of each user, and a seed belongs to one of them"
            }
            Self::CredentialsFile(_) => {
                "the NATS server refused the credentials file: its JWT may have expired, be \
                 revoked, or come from an account that the server does not know; the file is read \
                 again for each attempt"
            }
            Self::Callback(_) => {
                "the NATS server refused what the auth callback returned, such as an expired JWT; \
                 the callback is called again for each attempt"
            }
        }
    }

    /// Returns whether these credentials need the feature `nkeys`.
    pub(crate) fn needs_nkeys(&self) -> bool {
        matches!(self, Self::Nkey(_) | Self::NkeyFile(_) | Self::CredentialsFile(_))
    }

    /// Returns the name of the option whose value is a secret instead of the path of a file.
    pub(crate) fn misplaced_secret(&self) -> Option<&'static str> {
        let (option, path) = match self {
            Self::CredentialsFile(path) => ("credentials_file", path),
            Self::NkeyFile(path) => ("nkey_file", path),
            _ => return None,
        };
        is_secret(path).then_some(option)
    }
}

/// Shortest value that counts as a seed: a whole one has 58 characters, but a part is secret too.
const SEED_BYTES_MIN: usize = 32;

/// Returns whether a path looks like the contents of a file: its text, a JWT or a seed.
fn is_secret(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_text = text.contains("-----BEGIN") || text.contains(['\n', '\r']);
    let is_jwt = text.starts_with("eyJ");
    let is_base32 = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let is_seed =
        text.starts_with('S') && text.len() >= SEED_BYTES_MIN && text.trim().bytes().all(is_base32);
    is_text || is_jwt || is_seed
}

impl fmt::Debug for NatsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserPassword { .. } => f.write_str("UserPassword(***)"),
            Self::Token(_) => f.write_str("Token(***)"),
            Self::Nkey(_) => f.write_str("Nkey(***)"),
            Self::NkeyFile(path) | Self::CredentialsFile(path) if is_secret(path) => {
                f.write_str("File(***)")
            }
            Self::NkeyFile(path) => f.debug_tuple("NkeyFile").field(path).finish(),
            Self::CredentialsFile(path) => f.debug_tuple("CredentialsFile").field(path).finish(),
            Self::Callback(_) => f.write_str("Callback"),
        }
    }
}

/// Names of the files' options, which are also the serde names of the variants.
pub(crate) const FILES: [&str; 2] = ["credentials_file", "nkey_file"];

/// A URL sets a user, a password or a token before the `@`, and files in its query.
impl Options for NatsCredentials {
    fn names(each: &mut dyn FnMut(&'static str)) {
        FILES.into_iter().for_each(each);
    }

    fn set(&mut self, name: &str, text: &str) -> Result<bool, Unfit> {
        let variant = match name {
            "credentials_file" => Self::CredentialsFile,
            "nkey_file" => Self::NkeyFile,
            _ => return Ok(false),
        };
        if text.is_empty() {
            return Err(Unfit::custom(
                "it is the path of a file, such as `/run/secrets/user.creds`",
            ));
        }
        *self = variant(PathBuf::from(text));
        Ok(true)
    }
}

/// Function that authenticates each connection; [`NatsCredentials::callback`] makes it.
#[derive(Clone)]
pub struct NatsAuthCallback(Arc<Answer>);

type Answer = dyn Fn(Bytes) -> Answering + Send + Sync;

type Answering = Pin<Box<dyn Future<Output = Result<NatsAuth, Error>> + Send>>;

impl NatsAuthCallback {
    /// Calls the function with the nonce of a server.
    pub(crate) async fn answer(self, nonce: Bytes) -> Result<NatsAuth, Error> {
        (self.0)(nonce).await
    }
}

/// Two callbacks are equal if they are clones of one.
impl PartialEq for NatsAuthCallback {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for NatsAuthCallback {}

impl fmt::Debug for NatsAuthCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NatsAuthCallback")
    }
}

/// Proof of identity that a client sends when it connects: the answer of an auth callback. `Debug`
/// hides it.
///
/// # Examples
///
/// A JWT whose key is kept elsewhere, where the nonce is signed:
///
/// ```
/// use rr_nats::{NatsAuth, NatsCredentials};
/// # async fn sign(_: &[u8]) -> Vec<u8> { Vec::new() }
///
/// let credentials = NatsCredentials::callback(|nonce| async move {
///     let jwt = "eyJ0eXAi...".to_owned();
///     Ok(NatsAuth::default().with_jwt(jwt).with_signature(sign(&nonce).await))
/// });
/// # drop(credentials);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatsAuth {
    /// The name of a user. Default none.
    pub user: Option<String>,
    /// The password of the user. Default none.
    pub password: Option<String>,
    /// A token. Default none.
    pub token: Option<String>,
    /// The JWT of a user. Default none.
    pub jwt: Option<String>,
    /// The public key of a user's nkey, which begins with `U`; not needed with a JWT, which contains
    /// it. Default none.
    pub nkey: Option<String>,
    /// The signature of the nonce: 64 bytes of Ed25519, not encoded. Default none. Needs the feature
    /// `nkeys`.
    pub signature: Option<Vec<u8>>,
}

impl NatsAuth {
    /// Replaces [`Self::user`] and [`Self::password`].
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        (self.user, self.password) = (Some(user.into()), Some(password.into()));
        self
    }

    /// Replaces [`Self::token`].
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Replaces [`Self::jwt`].
    #[must_use]
    pub fn with_jwt(mut self, jwt: impl Into<String>) -> Self {
        self.jwt = Some(jwt.into());
        self
    }

    /// Replaces [`Self::nkey`].
    #[must_use]
    pub fn with_nkey(mut self, public_key: impl Into<String>) -> Self {
        self.nkey = Some(public_key.into());
        self
    }

    /// Replaces [`Self::signature`].
    #[must_use]
    pub fn with_signature(mut self, signature: impl Into<Vec<u8>>) -> Self {
        self.signature = Some(signature.into());
        self
    }

    /// Signs the nonce of a server with the seed of a user's nkey, which begins with `SU`. Also sets
    /// [`Self::nkey`], unless there is a JWT.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition`, not sent, if the seed is not that of a user.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_nats::{NatsAuth, NatsCredentials};
    /// # async fn issued() -> (String, String) { Default::default() }
    ///
    /// let credentials = NatsCredentials::callback(|nonce| async move {
    ///     let (jwt, seed) = issued().await;
    ///     NatsAuth::default().with_jwt(jwt).signed(&seed, &nonce)
    /// });
    /// # drop(credentials);
    /// ```
    #[cfg(feature = "nkeys")]
    pub fn signed(mut self, seed: &str, nonce: &[u8]) -> Result<Self, Error> {
        let key = keys::key_of(seed)?;
        if self.jwt.is_none() {
            self.nkey = Some(key.public_key());
        }
        self.signature = Some(keys::sign(&key, nonce)?);
        Ok(self)
    }
}

impl fmt::Debug for NatsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsAuth").field("nkey", &self.nkey).finish_non_exhaustive()
    }
}
