//! The recorder that the facade has installed.

use std::mem::size_of_val;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use metrics::{KeyName, Recorder, SharedString, Unit, with_recorder};
use rr_spi::observe::measurements::{Attribute, Instrument, InstrumentKind, Instruments};
use tokio::time::Instant;

use super::handles::{Handle, Handles, address};

/// Returns whether a recorder is installed, for the process or for this thread.
#[inline]
pub(super) fn is_installed() -> bool {
    with_recorder(is_real)
}

/// The placeholder of the facade, which records nothing, has no size.
fn is_real(recorder: &dyn Recorder) -> bool {
    size_of_val(recorder) != 0
}

/// Instruments of the recorder that is installed.
pub(super) struct Facade {
    /// Address of the recorder that was told of the instruments.
    described: AtomicUsize,
    handles: Handles,
    /// Changes of up-down counters while no recorder was installed, by [`Instrument::index`].
    /// Operations are reported then if another observer observes them. Without their starts, their
    /// ends would leave a sum below zero for ever.
    missed: Box<[AtomicI64]>,
}

impl Facade {
    pub(super) fn new() -> Self {
        let missed = Instrument::ALL.iter().map(|_| AtomicI64::new(0)).collect();
        Self { described: AtomicUsize::new(0), handles: Handles::default(), missed }
    }

    /// Returns the instruments for one report, for which the clock is read once.
    pub(super) fn now(&self) -> Now<'_> {
        Now { facade: self, now: Instant::now() }
    }

    fn miss(&self, instrument: Instrument, change: f64) {
        if instrument.kind() == InstrumentKind::UpDownCounter {
            self.missed[instrument.index()].fetch_add(change as i64, Ordering::Relaxed);
        }
    }

    /// Takes the changes that were missed.
    fn take_missed(&self, instrument: Instrument) -> f64 {
        let missed = &self.missed[instrument.index()];
        // Read first: a write on each operation would be shared by all threads.
        if missed.load(Ordering::Relaxed) == 0 {
            return 0.0;
        }
        missed.swap(0, Ordering::Relaxed) as f64
    }
}

/// Instruments at an instant.
pub(super) struct Now<'a> {
    facade: &'a Facade,
    now: Instant,
}

impl Instruments for Now<'_> {
    fn record(&self, instrument: Instrument, value: f64, attributes: &[Attribute]) {
        let facade = self.facade;
        with_recorder(|recorder| {
            if !is_real(recorder) {
                return facade.miss(instrument, value);
            }
            let address = address(recorder);
            if facade.described.load(Ordering::Relaxed) != address {
                facade.described.store(address, Ordering::Relaxed);
                describe(recorder);
            }
            match facade.handles.get(recorder, instrument, attributes, self.now) {
                Handle::Histogram(handle) => handle.record(value),
                Handle::Counter(handle) => handle.increment(value as u64),
                Handle::Gauge(handle) if instrument.kind() == InstrumentKind::Gauge => {
                    handle.set(value);
                }
                Handle::Gauge(handle) => handle.increment(value + facade.take_missed(instrument)),
            }
        });
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
