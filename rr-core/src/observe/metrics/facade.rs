//! The recorder that the facade has installed.

use std::mem::size_of_val;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering, fence};

use metrics::{Gauge, KeyName, Recorder, SharedString, Unit, with_recorder};
use rr_spi::observe::measurements::{Attribute, Instrument, InstrumentKind, Instruments};
use tokio::time::Instant;

use super::handles::{Handle, Handles, address};

/// Sums of the up-down counters, by [`Instrument::index`]. A series of the facade belongs to the
/// process, and all observers of the process record in it. Its gauge is set to the sum: an increment
/// would be wrong after the recorder forgot the series or missed a change.
static SUMS: [AtomicI64; Instrument::ALL.len()] =
    [const { AtomicI64::new(0) }; Instrument::ALL.len()];

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
}

impl Facade {
    pub(super) fn new() -> Self {
        Self { described: AtomicUsize::new(0), handles: Handles::default() }
    }

    /// Returns the instruments for one report, for which the clock is read once.
    pub(super) fn now(&self) -> Now<'_> {
        Now { facade: self, now: Instant::now() }
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
        let sum = &SUMS[instrument.index()];
        if instrument.kind() == InstrumentKind::UpDownCounter {
            // Changed first, and without a recorder too: a recorder that panics, and one that is
            // installed later, are then set to the right value by the next record.
            sum.fetch_add(value as i64, Ordering::SeqCst);
        }
        with_recorder(|recorder| {
            if !is_real(recorder) {
                return;
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
                Handle::Gauge(handle) => follow(&handle, sum),
            }
        });
    }
}

/// Sets a gauge to a sum that other threads change and set too.
fn follow(gauge: &Gauge, sum: &AtomicI64) {
    loop {
        let value = sum.load(Ordering::SeqCst);
        gauge.set(value as f64);
        // The recorder may set the gauge without ordering. If the sum has changed, another thread may
        // have set the newer value before this thread set the older one.
        fence(Ordering::SeqCst);
        if sum.load(Ordering::SeqCst) == value {
            return;
        }
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
