//! The exporter for Prometheus, and what it has written.

use metrics::{LocalRecorderGuard, set_default_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rr_core::observe::names;

/// Exporter of the metrics that this thread records.
pub(crate) struct Exporter(PrometheusHandle);

impl Exporter {
    /// Installs an exporter for this thread, until the guard is dropped.
    pub(crate) fn install() -> (Self, LocalRecorderGuard<'static>) {
        let builder = PrometheusBuilder::new().with_recommended_naming(true);
        let builder = builder.set_buckets(&names::DURATION_BOUNDS).unwrap();
        let recorder = Box::leak(Box::new(builder.build_recorder()));
        (Self(recorder.handle()), set_default_local_recorder(recorder))
    }

    pub(crate) fn text(&self) -> String {
        self.0.render()
    }

    /// Returns the values of a metric, sorted: the labels' values in the order of their names but the
    /// constant `rpc_system_name`, and the value.
    pub(crate) fn values(&self, metric: &str) -> Vec<String> {
        let mut values: Vec<_> = self.text().lines().filter_map(|it| value(metric, it)).collect();
        values.sort_unstable();
        values
    }
}

fn value(metric: &str, line: &str) -> Option<String> {
    let rest = line.strip_prefix(metric)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let mut labels: Vec<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
    labels.sort_unstable();
    let values = labels.iter().filter_map(|label| label.split_once('='));
    let values = values.filter(|(name, _)| *name != "rpc_system_name");
    let mut words: Vec<_> = values.map(|(_, text)| text.trim_matches('"').to_owned()).collect();
    words.push(value.to_owned());
    Some(words.join(" "))
}
