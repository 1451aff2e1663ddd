//! Content encoding of bodies.

use http::{HeaderMap, header};
use rr_spi::{Code, Delivery, Error, Reason};

use super::refusal::Refusal;
use crate::compression::Codec;

/// Maximum number of characters of an unsupported coding's name that an error shows.
const SHOWN_CHARS_MAX: usize = 32;

/// Content encoding of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Encoded(Codec),
    /// Name of an unsupported coding. An empty body is still accepted: it was never encoded.
    Unsupported(String),
}

impl Coding {
    /// Reads `content-encoding`, a list (RFC 9110 §8.4).
    pub(super) fn of(map: &HeaderMap) -> Self {
        let values = map.get_all(header::CONTENT_ENCODING).iter();
        values.fold(Self::Identity, |read, value| {
            read.and_list(&String::from_utf8_lossy(value.as_bytes()))
        })
    }

    /// Reads the parameter `compression` of a Connect GET.
    pub(super) fn of_list(list: Option<&str>) -> Self {
        list.map_or(Self::Identity, |list| Self::Identity.and_list(list))
    }

    /// Adds codings that were applied after this one. Only one coding is supported.
    fn and_list(self, list: &str) -> Self {
        let tokens = list.split(',').map(str::trim);
        let tokens = tokens.filter(|token| !token.is_empty());
        tokens.filter(|token| !token.eq_ignore_ascii_case("identity")).fold(self, Self::add_coding)
    }

    /// Adds one coding. A single one of a [`Codec`] is supported; all other combinations are
    /// [`Coding::Unsupported`].
    fn add_coding(self, token: &str) -> Self {
        let all = match self {
            Self::Identity => match Codec::of_token(token.as_bytes()) {
                Some(codec) => return Self::Encoded(codec),
                None => token.to_owned(),
            },
            Self::Encoded(codec) => format!("{}, {token}", codec.token()),
            Self::Unsupported(before) => format!("{before}, {token}"),
        };
        Self::Unsupported(all.chars().take(SHOWN_CHARS_MAX).collect())
    }
}

/// Makes the refusal of a body whose encoding is not supported.
pub(crate) fn unsupported_coding(shown: &str) -> Refusal {
    let shown = shown.escape_debug();
    let message = format!("encoding `{shown}` is not supported; supported: {}", Codec::ACCEPTED);
    let error = Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, message);
    Refusal { accept_encoding: Some(Codec::ACCEPTED), ..Refusal::from(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_says_nothing_and_one_gzip_is_undone() {
        for none in ["", "identity", "Identity, identity", ",", " identity ,"] {
            assert_eq!(Coding::of_list(Some(none)), Coding::Identity, "{none}");
        }
        for gzip in ["gzip", "GZIP", "x-gzip", "X-GZip", "identity, gzip", "gzip,identity"] {
            assert_eq!(Coding::of_list(Some(gzip)), Coding::Encoded(Codec::Gzip), "{gzip}");
        }
        for other in ["br", "gzip, gzip", "br, gzip", "gzip, br", "x"] {
            let read = Coding::of_list(Some(other));
            assert_eq!(read, Coding::Unsupported(other.to_owned()));
        }
        let long = Coding::of_list(Some(&"ä,".repeat(100)));
        assert!(matches!(long, Coding::Unsupported(shown) if shown.chars().count() == 32));
    }

    #[test]
    fn lines_are_one_list() {
        let mut map = HeaderMap::new();
        assert_eq!(Coding::of(&map), Coding::Identity);
        map.append(header::CONTENT_ENCODING, "identity".parse().unwrap());
        map.append(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(Coding::of(&map), Coding::Encoded(Codec::Gzip));
        map.append(header::CONTENT_ENCODING, "br".parse().unwrap());
        assert_eq!(Coding::of(&map), Coding::Unsupported("gzip, br".to_owned()));
    }
}
