//! PEM values: a path, or the text.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Certificates, a key or revocation lists in PEM: the path of a file, or the text.
///
/// A value that begins with `-----BEGIN` is the text, an empty value is none, and any other value is
/// a path. `Debug` shows a path, but never the text.
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
            Source::Text(_) => "the given text".to_owned(),
            Source::File(path) => format!("`{}`", rr_spi::excerpt(&path.to_string_lossy(), 256)),
        }
    }
}

impl From<String> for Pem {
    fn from(value: String) -> Self {
        Self(if value.is_empty() {
            Source::None
        } else if value.trim_start().starts_with(BEGIN) {
            Source::Text(value)
        } else {
            Source::File(value.into())
        })
    }
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
