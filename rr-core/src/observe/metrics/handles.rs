//! Handles of the recorder, one for each series.

use std::collections::HashMap;
use std::mem::take;
use std::ptr::from_ref;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString};
use rr_spi::observe::measurements::{Attribute, Instrument, InstrumentKind};
use tokio::time::Instant;

/// Longest time that a handle is kept. An exporter may forget a series that is idle for some
/// seconds, and what its handle records afterwards is lost. A series that is used again after a
/// second is therefore looked up, which makes it anew. A look-up takes five times as long as a record.
const KEPT: Duration = Duration::from_secs(1);

/// Maximum number of attributes of a measurement: RPC system, method, code and error type.
const ATTRIBUTES_MAX: usize = 4;

const METADATA: Metadata<'static> = Metadata::new("rr", Level::INFO, Some("rr"));

/// Returns the address of a recorder, which tells recorders apart. The recorder of the process never
/// changes, those of threads do.
pub(super) fn address(recorder: &dyn Recorder) -> usize {
    from_ref(recorder).cast::<()>() as usize
}

/// Handle of one series.
#[derive(Clone)]
pub(super) enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// Handles that are kept.
#[derive(Default)]
pub(super) struct Handles(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    /// The [`address`] of the recorder that the handles are from.
    recorder: usize,
    handles: HashMap<Series, Entry>,
}

struct Entry {
    handle: Handle,
    since: Instant,
    /// Own the texts that the series points to.
    _attributes: Box<[Attribute]>,
}

/// Instrument, and where the texts of the attributes are: equal addresses are equal texts. Equal texts
/// at several addresses have a handle each, of the same series.
#[derive(PartialEq, Eq, Hash)]
struct Series(usize, [(usize, usize); ATTRIBUTES_MAX]);

impl Handles {
    /// Returns the handle of a series.
    pub(super) fn get(
        &self,
        recorder: &dyn Recorder,
        instrument: Instrument,
        attributes: &[Attribute],
        now: Instant,
    ) -> Handle {
        let address = address(recorder);
        let series = Series::of(instrument, attributes);
        if let Some(handle) = self.kept(address, &series, now) {
            return handle;
        }
        // The recorder is foreign code and not called under the lock, and neither are its handles'
        // destructors.
        let handle = register(recorder, instrument, attributes);
        let entry = Entry { handle: handle.clone(), since: now, _attributes: attributes.into() };
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_another = (kept.recorder != address).then(|| take(&mut kept.handles));
        kept.recorder = address;
        let replaced = kept.handles.insert(series, entry);
        drop(kept);
        drop((of_another, replaced));
        handle
    }

    fn kept(&self, recorder: usize, series: &Series, now: Instant) -> Option<Handle> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.handles.get(series).filter(|_| kept.recorder == recorder)?;
        (now.saturating_duration_since(entry.since) < KEPT).then(|| entry.handle.clone())
    }
}

impl Series {
    fn of(instrument: Instrument, attributes: &[Attribute]) -> Self {
        debug_assert!(attributes.len() <= ATTRIBUTES_MAX, "two series would share a handle");
        let mut places = [(0, 0); ATTRIBUTES_MAX];
        for (place, attribute) in places.iter_mut().zip(attributes) {
            let text = attribute.as_str();
            *place = (text.as_ptr() as usize, text.len());
        }
        Self(instrument.index(), places)
    }
}

fn register(recorder: &dyn Recorder, instrument: Instrument, attributes: &[Attribute]) -> Handle {
    let label = |it: &Attribute| Label::new(it.name(), it.value::<SharedString>());
    let labels: Vec<_> = attributes.iter().map(label).collect();
    let key = Key::from_parts(instrument.name(), labels);
    match instrument.kind() {
        InstrumentKind::Histogram => {
            Handle::Histogram(recorder.register_histogram(&key, &METADATA))
        }
        InstrumentKind::Gauge | InstrumentKind::UpDownCounter => {
            Handle::Gauge(recorder.register_gauge(&key, &METADATA))
        }
        _ => Handle::Counter(recorder.register_counter(&key, &METADATA)),
    }
}
