//! PEM values: a path, or the text.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Certificates, a key or revocation lists in PEM: the path of a file, or the text.
///
/// A value that contains `-----BEGIN` or a line break, or that cannot be the path of a file, is the
/// text. An empty value is none, and any other value is a path. `Debug` and errors show a path, but
/// never the text. Values that look like base64 (64 characters or more of its alphabet, not starting
/// with `/`) count as text, since they are probably a key; `./` before such a path makes it one.
///
/// # Examples
///
/// ```
/// use rr_tls::Pem;
///
/// let file = Pem::from("/etc/rr/tls.key");
/// assert_eq!(file.path().and_then(|path| path.to_str()), Some("/etc/rr/tls.key"));
///
/// let text = Pem::from("-----BEGIN PRIVATE KEY-----\n...");
/// assert_eq!((text.path(), format!("{text:?}")), (None, "Pem(inline)".to_owned()));
/// assert!(Pem::from("").is_none());
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Pem(Source);

#[derive(Clone, Default, PartialEq, Eq)]
enum Source {
    #[default]
    None,
    File(PathBuf),
    Text(String),
}

/// Beginning of a text in PEM (RFC 7468 §2).
const BEGIN: &str = "-----BEGIN";

/// Beginning of base64 of a text in PEM.
const BEGIN_BASE64: &str = "LS0tLS1C";

/// Shortest value that may be base64 of a key: an Ed25519 key in PKCS #8 has 64 characters.
const BASE64_BYTES_MIN: usize = 64;

/// Longest name in a path, in bytes, on the usual file systems.
const NAME_BYTES_MAX: usize = 255;

/// Longest file that is read, in bytes. The roots of a platform take a quarter of a MiB; a larger
/// file is a mistake, such as a device.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Pem {
    /// No value.
    pub const NONE: Self = Self(Source::None);

    /// Returns whether there is no value.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0 == Source::None
    }

    /// Returns the path, if the value is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Source::File(path) => Some(path),
            _ => None,
        }
    }

    /// Reads the text.
    pub(crate) fn read(&self) -> io::Result<Cow<'_, [u8]>> {
        use std::io::Read as _;
        match &self.0 {
            Source::None => Ok(Cow::Borrowed(&[])),
            Source::Text(text) => Ok(Cow::Borrowed(text.as_bytes())),
            Source::File(path) => {
                let mut text = Vec::new();
                std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
                if text.len() as u64 > FILE_BYTES_MAX {
                    return Err(io::Error::other("it is longer than 16 MiB"));
                }
                Ok(Cow::Owned(text))
            }
        }
    }

    /// Returns the source for an error text: the path, or that the text was given.
    pub(crate) fn origin(&self) -> String {
        match &self.0 {
            Source::None => "nothing".to_owned(),
            Source::Text(_) => "the given value".to_owned(),
            Source::File(path) => format!("`{}`", rr_spi::excerpt(&path.to_string_lossy(), 256)),
        }
    }
}

impl From<String> for Pem {
    fn from(value: String) -> Self {
        Self(if value.is_empty() {
            Source::None
        } else if is_path(&value) {
            Source::File(value.into())
        } else {
            // A byte order mark hides the first line from the parser.
            Source::Text(value.trim_start_matches('\u{feff}').to_owned())
        })
    }
}

/// Returns whether a value can be shown as the path of a file. Everything else may be a key.
fn is_path(value: &str) -> bool {
    let is_text = value.contains(BEGIN) || value.contains(['\n', '\r']);
    let is_too_long = value.split(['/', '\\']).any(|name| name.len() > NAME_BYTES_MAX);
    !is_text && !is_too_long && !is_base64(value)
}

fn is_base64(value: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    value.starts_with(BEGIN_BASE64)
        || value.len() >= BASE64_BYTES_MIN && !value.starts_with('/') && value.bytes().all(is_digit)
}

impl From<&str> for Pem {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self(Source::File(path))
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::None => f.write_str("Pem(none)"),
            Source::File(path) => f.debug_tuple("Pem").field(path).finish(),
            Source::Text(_) => f.write_str("Pem(inline)"),
        }
    }
}
