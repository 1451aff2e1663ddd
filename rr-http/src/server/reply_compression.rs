//! Compression of replies, for callers that ask for it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response as HttpResponse, header};

use crate::compression::{Codec, Compressors, compress};

/// Compression of the replies of one server.
pub(super) struct ReplyCompression {
    bytes_min: usize,
    compressors: Compressors,
}

impl ReplyCompression {
    /// Returns `None` if no reply is compressed.
    pub(super) fn new(bytes_min: usize) -> Option<Self> {
        (bytes_min > 0).then(|| Self { bytes_min, compressors: Compressors::default() })
    }

    /// Compresses the body of a reply, if its length and content type allow it and the caller
    /// accepts the codec. `is_get` tells whether caches may store the reply.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the reply as it is.
    pub(super) async fn apply(
        &self,
        accepted: Option<Codec>,
        is_get: bool,
        reply: &mut HttpResponse<Bytes>,
    ) {
        if !is_compressible(reply.headers()) {
            return;
        }
        if is_get {
            // A cache must not serve the reply to callers that accept other codings.
            reply.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        let Some(codec) = accepted else { return };
        // A reply to HEAD declares its length, which only compressing the body would tell.
        reply.headers_mut().remove(header::CONTENT_LENGTH);
        if let Some(short) = compress(&self.compressors, codec, reply.body()).await {
            *reply.body_mut() = short;
            let name = HeaderValue::from_static(codec.token());
            reply.headers_mut().insert(header::CONTENT_ENCODING, name);
        }
    }

    /// Returns whether a reply is long enough to be compressed. A reply to HEAD has no body, but
    /// declares the length.
    pub(super) fn is_long(&self, reply: &HttpResponse<Bytes>) -> bool {
        let declared = || {
            let length = reply.headers().get(header::CONTENT_LENGTH)?;
            length.to_str().ok()?.parse().ok()
        };
        reply.body().len().max(declared().unwrap_or(0)) >= self.bytes_min
    }
}

/// Content types whose bodies become much shorter, besides `text/*` and types that end in `+json`,
/// `+xml` or `+cbor`. Images, archives and unknown bytes are left alone: most are compressed.
const COMPRESSIBLE: [&str; 11] = [
    "application/json",
    "application/proto",
    "application/protobuf",
    "application/x-protobuf",
    "application/cbor",
    "application/msgpack",
    "application/x-msgpack",
    "application/postcard",
    "application/xml",
    "application/javascript",
    "application/yaml",
];

/// Returns whether a reply may be compressed, and is worth it.
///
/// `cache-control: no-transform` forbids it (RFC 9111 §5.2.2.6). A strong `etag` names the very bytes
/// of the body (RFC 9110 §8.8.3), which compression changes.
fn is_compressible(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    let is_listed = COMPRESSIBLE.iter().any(|known| known.as_bytes() == media_type);
    let suffixes = ["+json", "+xml", "+cbor"];
    let is_named = is_listed
        || media_type.starts_with(b"text/")
        || suffixes.iter().any(|suffix| media_type.ends_with(suffix.as_bytes()));
    let controls = headers.get_all(header::CACHE_CONTROL).iter();
    let mut controls = controls.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let is_strong = |tag: &HeaderValue| !tag.as_bytes().starts_with(b"W/");
    is_named
        && !controls.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
        && !headers.get(header::ETAG).is_some_and(is_strong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressible(lines: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        is_compressible(&map)
    }

    #[test]
    fn text_and_the_codecs_are_compressible_and_images_and_unknown_bytes_are_not() {
        for yes in [
            "application/json",
            "Application/JSON ; charset=utf-8",
            "text/plain; charset=utf-8",
            "application/proto",
            "application/problem+json",
            "image/svg+xml",
        ] {
            assert!(compressible(&[("content-type", yes)]), "{yes}");
        }
        for no in ["application/octet-stream", "image/png", "application/zip", "", "+json/x"] {
            assert!(!compressible(&[("content-type", no)]), "{no}");
        }
        assert!(!compressible(&[]));
    }

    #[test]
    fn no_transform_and_a_strong_etag_keep_the_bytes() {
        let json = ("content-type", "application/json");
        assert!(compressible(&[json, ("cache-control", "max-age=5"), ("etag", "W/\"1\"")]));
        assert!(!compressible(&[json, ("etag", "\"1\"")]));
        for control in ["no-transform", "max-age=5, No-Transform"] {
            assert!(!compressible(&[json, ("cache-control", control)]), "{control}");
        }
    }
}
