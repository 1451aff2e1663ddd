//! The headers of HTTP and Connect that decide about a request, found in one pass over its head.

use http::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::wire::CONTENT_TYPE;

/// The headers of HTTP and Connect that decide about a request. Looking each name up would cost
/// more than one pass over the head. Those of rr itself are read by `rr_spi::wire::RequestHead`.
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

/// The lines of one name: the first of them, and whether there are more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) first: Option<&'a HeaderValue>,
    pub(super) repeated: bool,
}

impl<'a> Lines<'a> {
    /// Finds them in a head.
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
    /// Returns the one value: `Ok(None)` without any, `Err` when there are several or it is not
    /// text.
    pub(super) fn single(self) -> Result<Option<&'a str>, ()> {
        match self {
            Self { repeated: true, .. } => Err(()),
            Self { first, .. } => first.map(|value| value.to_str().map_err(|_| ())).transpose(),
        }
    }
}
