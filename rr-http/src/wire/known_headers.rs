//! Headers of HTTP and Connect that affect how a request is handled, found in one pass.

use http::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::wire::CONTENT_TYPE;

/// Headers of HTTP and Connect that affect how a request is handled. One pass over the head costs
/// less than a lookup of each name. `rr_spi::wire::RequestHead` reads rr's own headers.
#[derive(Debug, Default)]
pub(crate) struct Lines<'a> {
    pub(super) host: Line<'a>,
    pub(super) transfer_encoding: Line<'a>,
    pub(super) connect_protocol_version: Line<'a>,
    pub(super) connect_timeout_ms: Line<'a>,
    pub(super) grpc_timeout: Line<'a>,
    pub(super) content_type: Line<'a>,
    pub(super) content_encoding: Line<'a>,
}

/// Lines of one header name: the first of them, and whether there are more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) first: Option<&'a HeaderValue>,
    pub(super) repeated: bool,
}

impl<'a> Lines<'a> {
    /// Collects the known headers of a head.
    pub(crate) fn of(map: &'a HeaderMap) -> Self {
        let mut lines = Self::default();
        for (name, value) in map {
            if let Some(line) = lines.line(name) {
                line.repeated |= line.first.is_some();
                line.first.get_or_insert(value);
            }
        }
        lines
    }

    fn line(&mut self, name: &HeaderName) -> Option<&mut Line<'a>> {
        Some(match name.as_str() {
            "host" => &mut self.host,
            "transfer-encoding" => &mut self.transfer_encoding,
            "connect-protocol-version" => &mut self.connect_protocol_version,
            "connect-timeout-ms" => &mut self.connect_timeout_ms,
            "grpc-timeout" => &mut self.grpc_timeout,
            CONTENT_TYPE => &mut self.content_type,
            "content-encoding" => &mut self.content_encoding,
            _ => return None,
        })
    }
}

impl<'a> Line<'a> {
    /// Returns the single value: `Ok(None)` without any, `Err` when the header is repeated or not
    /// text.
    pub(super) fn single(self) -> Result<Option<&'a str>, ()> {
        match self {
            Self { repeated: true, .. } => Err(()),
            Self { first, .. } => first.map(|value| value.to_str().map_err(|_| ())).transpose(),
        }
    }
}
