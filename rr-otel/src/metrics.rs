//! The instruments of OpenTelemetry.

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, StringValue};
use rr_spi::observe::measurements::{Attribute, Instrument, InstrumentKind, Instruments};

use crate::names;

/// Instruments, in the order of [`Instrument::ALL`].
pub(crate) struct Metrics(Vec<Handle>);

enum Handle {
    Histogram(Histogram<f64>),
    Counter(Counter<u64>),
    UpDownCounter(UpDownCounter<i64>),
    Gauge(Gauge<u64>),
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self(Instrument::ALL.iter().map(|instrument| Handle::new(meter, *instrument)).collect())
    }
}

impl Instruments for Metrics {
    fn record(&self, instrument: Instrument, value: f64, attributes: &[Attribute]) {
        let value_of = |it: &Attribute| KeyValue::new(it.name(), it.value::<StringValue>());
        let attributes: Vec<_> = attributes.iter().map(value_of).collect();
        match self.0.get(instrument.index()) {
            Some(Handle::Histogram(handle)) => handle.record(value, &attributes),
            Some(Handle::Counter(handle)) => handle.add(value as u64, &attributes),
            Some(Handle::UpDownCounter(handle)) => handle.add(value as i64, &attributes),
            Some(Handle::Gauge(handle)) => handle.record(value as u64, &attributes),
            None => {}
        }
    }
}

impl Handle {
    fn new(meter: &Meter, instrument: Instrument) -> Self {
        let (name, unit, text) = (instrument.name(), instrument.unit(), instrument.description());
        macro_rules! build {
            ($builder:ident) => {
                meter.$builder(name).with_unit(unit).with_description(text)
            };
        }
        match instrument.kind() {
            InstrumentKind::Histogram => {
                let bounds = names::DURATION_BOUNDS.to_vec();
                Self::Histogram(build!(f64_histogram).with_boundaries(bounds).build())
            }
            InstrumentKind::UpDownCounter => {
                Self::UpDownCounter(build!(i64_up_down_counter).build())
            }
            InstrumentKind::Gauge => Self::Gauge(build!(u64_gauge).build()),
            _ => Self::Counter(build!(u64_counter).build()),
        }
    }
}
