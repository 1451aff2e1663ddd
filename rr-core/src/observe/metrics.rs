//! Metrics of every request, attempt and call, through the facade `metrics`.

mod facade;
mod handles;

use std::fmt;

use rr_spi::observe::measurements::Measurements;
use rr_spi::observe::{End, Event, Kind, Observer, Span, Start};

use facade::Facade;

/// Observer that records metrics through the facade of the crate
/// [`metrics`](https://docs.rs/metrics). Needs the feature `metrics`.
///
/// With the feature, it works without further code: [`connect`](crate::connect()) and
/// [`serve`](crate::serve()) in all their forms add it to the observers of their configuration, and
/// [`recommended`](crate::recommended) observes calls with it. It is not added where it is set
/// already. Install a recorder before the first of them, for example that of
/// `metrics-exporter-prometheus`.
///
/// # Metrics
///
/// The names of metrics and labels are those of [`names`](super::names), with dots; the units are
/// seconds and counts. An exporter may write them differently: for Prometheus dots become
/// underscores. With the recommended naming of `metrics-exporter-prometheus`, and the buckets of
/// [`names::DURATION_BOUNDS`], the names are those that OpenTelemetry has for Prometheus:
///
/// | here | for Prometheus |
/// |---|---|
/// | `rpc.server.call.duration`, a histogram | `rpc_server_call_duration_seconds_bucket`, `_sum`, `_count` |
/// | `rr.server.in_flight`, a gauge | `rr_server_in_flight` |
/// | `rr.client.retries`, a counter | `rr_client_retries_total` |
/// | `rpc.method`, a label | `rpc_method` |
///
/// Each label has a bounded number of values, see [`Measurements`]. The bound is for one observer:
/// clients that share one, by their configuration, share it.
///
/// # Cost
///
/// While no recorder is installed, it observes nothing and costs a few nanoseconds for each
/// operation. A recorder whose type has no fields counts as none, since the facade's own placeholder
/// has none; put such a recorder into a `Box`. Otherwise a call records one value, an attempt three, and
/// a request three to five. A handle of the recorder is used for at most one second and then looked up
/// again, so that an exporter may forget metrics that are idle for longer.
///
/// Recorders are told apart by their address. A recorder for a thread that takes the address of an
/// earlier one within that second gets nothing until the second is over. Tests that install one recorder
/// after the other use a new observer for each, or keep the earlier recorders alive.
///
/// The gauges of what is in flight are set to the number of the whole process, whichever clients,
/// servers and threads the operations belong to. They are right with the next record after an exporter
/// has forgotten them or a recorder has panicked.
///
/// A recorder that panics ends no operation, and loses the value that it panicked at. It runs in the task of the operation and must not block.
///
/// [`names::DURATION_BOUNDS`]: super::names::DURATION_BOUNDS
pub struct MetricsObserver {
    measurements: Measurements,
    facade: Facade,
}

impl MetricsObserver {
    /// Makes the observer.
    #[must_use]
    pub fn new() -> Self {
        Self { measurements: Measurements::new(), facade: Facade::new() }
    }
}

impl Default for MetricsObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MetricsObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsObserver").finish_non_exhaustive()
    }
}

impl Observer for MetricsObserver {
    #[inline]
    fn observes(&self, _: Kind) -> bool {
        facade::is_installed()
    }

    fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        self.measurements.started(start, &self.facade.now());
        None
    }

    fn ended(&self, end: &End<'_>) {
        self.measurements.ended(end, &self.facade.now());
    }

    fn event(&self, event: &Event<'_>) {
        self.measurements.event(event, &self.facade.now());
    }
}
