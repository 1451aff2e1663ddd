//! Metadata of a call: values that travel with it, and values that stay in this process.

use std::any::Any;
use std::sync::Arc;

use crate::error::Error;
use crate::inbound::Inbound;
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

impl Criticality {
    /// Every criticality, in ascending order.
    pub const ALL: [Self; 4] =
        [Self::Sheddable, Self::SheddablePlus, Self::Critical, Self::CriticalPlus];

    /// Returns the name, as it travels with a call.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::SheddablePlus => "sheddable-plus",
            Self::Critical => "critical",
            Self::CriticalPlus => "critical-plus",
        }
    }

    /// Returns the criticality of this name; `None` for any other text.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|criticality| criticality.as_str() == name)
    }
}

/// Metadata of a call. The first five fields travel with it; the others stay in this process.
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
    /// Makes the metadata that a peer sent; `None` without request id, `traceparent`, `baggage` and a
    /// criticality other than the default.
    ///
    /// Values that do not fit the limits are dropped; metadata never causes a call to be refused.
    pub(crate) fn receive(inbound: &Inbound<'_>) -> Option<Self> {
        let fit = |value: Option<&str>, limit| {
            value.filter(|value| fits(value, limit)).map(Arc::<str>::from)
        };
        let data = Self {
            request_id: fit(inbound.request_id, REQUEST_ID_BYTES_MAX),
            traceparent: fit(inbound.traceparent, TRACE_BYTES_MAX),
            tracestate: fit(inbound.tracestate, TRACE_BYTES_MAX),
            baggage: fit(inbound.baggage, BAGGAGE_BYTES_MAX),
            criticality: inbound.criticality,
            ..Self::default()
        };
        let any = data.request_id.is_some() || data.traceparent.is_some() || data.baggage.is_some();
        (any || data.criticality != Criticality::default()).then_some(data)
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
