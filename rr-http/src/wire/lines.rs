//! The lines of a head that mean something to us, found in one pass over it.

use http::{HeaderMap, HeaderName, HeaderValue};
use rr_spi::wire;

/// What a head says in the lines that mean something to us.
///
/// A request is asked for a dozen names, most of which it does not carry; to look each of them up
/// would cost more than all the rest of reading a head.
#[derive(Debug, Default)]
pub(crate) struct Lines<'a> {
    pub(super) host: Line<'a>,
    pub(super) transfer_encoding: Line<'a>,
    pub(super) connect_protocol_version: Line<'a>,
    pub(super) connect_timeout_ms: Line<'a>,
    pub(super) grpc_timeout: Line<'a>,
    pub(super) rr: Line<'a>,
    pub(super) idempotency_key: Line<'a>,
    pub(super) request_id: Line<'a>,
    pub(super) traceparent: Line<'a>,
    pub(super) tracestate: Line<'a>,
    pub(super) baggage: Line<'a>,
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
            wire::RR => &mut self.rr,
            wire::IDEMPOTENCY_KEY => &mut self.idempotency_key,
            wire::REQUEST_ID => &mut self.request_id,
            wire::TRACEPARENT => &mut self.traceparent,
            wire::TRACESTATE => &mut self.tracestate,
            wire::BAGGAGE => &mut self.baggage,
            wire::CONTENT_TYPE => &mut self.content_type,
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

    /// Returns the first value, when it is text.
    pub(super) fn text(self) -> Option<&'a str> {
        self.first?.to_str().ok()
    }
}
