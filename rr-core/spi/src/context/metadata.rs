//! Metadata of a call: values that travel with it, and values that stay in this process.

use std::any::Any;
use std::sync::Arc;

use crate::error::Error;
use crate::request_info::RequestInfo;

/// Longest request id in bytes; proxies write 32 to 64.
pub(super) const REQUEST_ID_BYTES_MAX: usize = 256;

/// Longest `traceparent` or `tracestate` in bytes (W3C Trace Context §3.3.1.5).
pub(super) const TRACE_BYTES_MAX: usize = 512;

/// Longest `baggage` in bytes (W3C Baggage §3.3.2).
pub(super) const BAGGAGE_BYTES_MAX: usize = 8192;

/// Importance of a call, which decides what is shed first when capacity runs short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Criticality {
    /// Shed first.
    Sheddable,
    /// Partial loss is expected and tolerable.
    SheddablePlus,
    /// The default: the loss of the call is visible to users.
    #[default]
    Critical,
    /// Shed last.
    CriticalPlus,
}

/// Metadata of a call. The first four fields travel with it; the others stay in this process.
#[derive(Clone, Default)]
pub(crate) struct Metadata {
    pub(crate) request_id: Option<Arc<str>>,
    pub(crate) traceparent: Option<Arc<str>>,
    pub(crate) tracestate: Option<Arc<str>>,
    pub(crate) baggage: Option<Arc<str>>,
    pub(super) criticality: Criticality,
    pub(super) values: Vec<Arc<dyn Any + Send + Sync>>,
    /// Replaces what arrived with the request.
    pub(super) request: Option<Arc<RequestInfo>>,
}

impl Metadata {
    /// Makes the metadata that a peer sent; `None` without request id, `traceparent` and `baggage`.
    ///
    /// Values that do not fit the limits are dropped; metadata never causes a call to be refused.
    pub(crate) fn receive<'a>(
        request_id: Option<&'a str>,
        traceparent: Option<&'a str>,
        tracestate: Option<&'a str>,
        baggage: Option<&'a str>,
    ) -> Option<Self> {
        let fit = |value: Option<&'a str>, limit| {
            value.filter(|value| fits(value, limit)).map(Arc::<str>::from)
        };
        let data = Self {
            request_id: fit(request_id, REQUEST_ID_BYTES_MAX),
            traceparent: fit(traceparent, TRACE_BYTES_MAX),
            tracestate: fit(tracestate, TRACE_BYTES_MAX),
            baggage: fit(baggage, BAGGAGE_BYTES_MAX),
            ..Self::default()
        };
        let any = data.request_id.is_some() || data.traceparent.is_some() || data.baggage.is_some();
        any.then_some(data)
    }
}

fn fits(value: &str, limit: usize) -> bool {
    let printable = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    !value.is_empty() && value.len() <= limit && printable && value.trim() == value
}

/// Checks a value that travels in a separate header.
pub(super) fn checked(what: &str, value: &str, limit: usize) -> Result<Arc<str>, Error> {
    if fits(value, limit) {
        return Ok(value.into());
    }
    let message = format!("a {what} is 1 to {limit} printable ASCII characters");
    Err(Error::invalid_argument(message))
}
