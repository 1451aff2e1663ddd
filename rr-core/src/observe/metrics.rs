//! Metrics of every request, attempt and call, through the facade `metrics`.

use std::fmt;
use std::mem::size_of_val;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder};
use rr_spi::observe::measurements::{
    Attribute, Instrument, InstrumentKind, Instruments, Measurements,
};
use rr_spi::observe::{End, Event, Kind, Observer, Span, Start};

const METADATA: Metadata<'static> = Metadata::new("rr", Level::INFO, Some("rr"));

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
/// underscores. With its recommended naming, which [`names::DURATION_BOUNDS`] complete, the names are
/// those that OpenTelemetry has for Prometheus:
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
/// has none; put such a recorder into a `Box`. Otherwise each operation looks up two to four
/// instruments of the recorder. They are not kept, so that an exporter may forget those that are
/// idle.
///
/// A recorder that panics ends no operation. It runs in the task of the operation and must not block.
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
        let missed = Instrument::ALL.iter().map(|_| AtomicI64::new(0)).collect();
        let facade = Facade { is_described: AtomicBool::new(false), missed };
        Self { measurements: Measurements::new(), facade }
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
        with_recorder(is_installed)
    }

    fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        self.measurements.started(start, &self.facade);
        None
    }

    fn ended(&self, end: &End<'_>) {
        self.measurements.ended(end, &self.facade);
    }

    fn event(&self, event: &Event<'_>) {
        self.measurements.event(event, &self.facade);
    }
}

/// Returns whether a recorder is an installed one: the placeholder of the facade has no size.
fn is_installed(recorder: &dyn Recorder) -> bool {
    size_of_val(recorder) != 0
}

/// Instruments of the recorder that is installed.
struct Facade {
    is_described: AtomicBool,
    /// Changes of up-down counters while no recorder was installed, by [`Instrument::index`].
    /// Operations are reported then if another observer observes them. Without their starts, their
    /// ends would leave a sum below zero for ever.
    missed: Box<[AtomicI64]>,
}

impl Instruments for Facade {
    fn record(&self, instrument: Instrument, value: f64, attributes: &[Attribute]) {
        with_recorder(|recorder| {
            if !is_installed(recorder) {
                return self.miss(instrument, value);
            }
            if !self.is_described.load(Ordering::Relaxed) {
                self.is_described.store(true, Ordering::Relaxed);
                describe(recorder);
            }
            let label = |it: &Attribute| Label::new(it.name(), it.value::<SharedString>());
            let labels: Vec<_> = attributes.iter().map(label).collect();
            let key = Key::from_parts(instrument.name(), labels);
            match instrument.kind() {
                InstrumentKind::Histogram => {
                    recorder.register_histogram(&key, &METADATA).record(value);
                }
                InstrumentKind::UpDownCounter => {
                    let change = value + self.caught_up(instrument);
                    recorder.register_gauge(&key, &METADATA).increment(change);
                }
                InstrumentKind::Gauge => recorder.register_gauge(&key, &METADATA).set(value),
                _ => recorder.register_counter(&key, &METADATA).increment(value as u64),
            }
        });
    }
}

impl Facade {
    fn miss(&self, instrument: Instrument, change: f64) {
        if instrument.kind() == InstrumentKind::UpDownCounter {
            self.missed[instrument.index()].fetch_add(change as i64, Ordering::Relaxed);
        }
    }

    /// Takes the changes that were missed.
    fn caught_up(&self, instrument: Instrument) -> f64 {
        let missed = &self.missed[instrument.index()];
        // Read first: a write on each operation would be shared by all threads.
        if missed.load(Ordering::Relaxed) == 0 {
            return 0.0;
        }
        missed.swap(0, Ordering::Relaxed) as f64
    }
}

fn describe(recorder: &dyn Recorder) {
    for instrument in Instrument::ALL {
        let name = KeyName::from_const_str(instrument.name());
        let unit = if instrument.unit() == "s" { Unit::Seconds } else { Unit::Count };
        let text = SharedString::const_str(instrument.description());
        match instrument.kind() {
            InstrumentKind::Histogram => recorder.describe_histogram(name, Some(unit), text),
            InstrumentKind::UpDownCounter | InstrumentKind::Gauge => {
                recorder.describe_gauge(name, Some(unit), text);
            }
            _ => recorder.describe_counter(name, Some(unit), text),
        }
    }
}
