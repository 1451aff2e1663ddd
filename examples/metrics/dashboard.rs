//! Checks the dashboard for Grafana against what the example emits.

mod query;

use std::collections::{BTreeMap, BTreeSet};

use rr_core::observe::{Event, MetricsObserver, Observer as _};
use serde_json::Value;

use query::Query;

/// Labels that Prometheus adds when it scrapes.
const ADDED: [&str; 2] = ["instance", "job"];

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../../docs/grafana/rr.json")).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Metrics that were emitted, with the names of their labels.
struct Emitted(BTreeMap<String, BTreeSet<String>>);

impl Emitted {
    fn of(exported: &str) -> Self {
        let mut metrics: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for line in exported.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // A line is a selector and a value.
            let (selector, _) = line.rsplit_once(' ').unwrap();
            let query = Query::parse(selector).unwrap();
            let [(name, labels)] = &query.selectors[..] else { panic!("{line}") };
            metrics.entry(name.clone()).or_default().extend(labels.iter().cloned());
        }
        Self(metrics)
    }

    /// Returns the first name of a query that was not emitted.
    fn missing(&self, query: &Query) -> Option<String> {
        let mut known: BTreeSet<&str> = ADDED.into();
        for (name, labels) in &query.selectors {
            let Some(emitted) = self.0.get(name) else { return Some(name.clone()) };
            known.extend(emitted.iter().map(String::as_str));
            let is_missing = |it: &&String| !emitted.contains(*it) && !ADDED.contains(&it.as_str());
            if let Some(label) = labels.iter().find(is_missing) {
                return Some(format!("{name} has no {label}"));
            }
        }
        let grouping = query.grouping.iter().find(|label| !known.contains(label.as_str()));
        grouping.map(|label| format!("no metric has {label}"))
    }
}

/// Runs the example, and lets its observer report what a run without a NATS server and without TLS
/// does not have.
async fn emitted() -> Emitted {
    let handle = super::install().unwrap();
    super::demo(handle.clone()).await.unwrap();
    let observer = MetricsObserver::new();
    for event in [
        Event::LateReply,
        Event::disconnected("nats://broker", None),
        Event::reconnected("nats://broker"),
        Event::handshake_refused(None, "no certificate"),
    ] {
        observer.event(&event);
    }
    Emitted::of(&handle.render())
}

#[tokio::test]
async fn every_query_of_the_dashboard_names_metrics_and_labels_that_were_emitted() {
    let (emitted, dashboard) = (emitted().await, dashboard());
    let mut queries = 0;
    for panel in list(&dashboard, "panels") {
        for target in list(panel, "targets") {
            let expression = text(target, "expr");
            let query = Query::parse(expression).unwrap();
            assert!(!query.selectors.is_empty(), "{expression}");
            assert_eq!(emitted.missing(&query), None, "{expression}");
            for label in query::placeholders(text(target, "legendFormat")) {
                assert!(query.grouping.contains(&label), "{label} of the legend in {expression}");
            }
            queries += 1;
        }
    }
    for variable in list(&dashboard["templating"], "list") {
        if text(variable, "type") == "query" {
            let query = Query::of_label_values(text(&variable["query"], "query")).unwrap();
            assert_eq!(emitted.missing(&query), None, "{variable}");
            queries += 1;
        }
    }
    assert!(queries > 30, "{queries} queries");

    // The check finds a name that is not there.
    for wrong in [
        "sum(rate(rpc_server_call_durations_seconds_count[5m]))",
        r#"rr_server_in_flight{rpc_method="a"}"#,
        "sum by (rpc_service) (rr_server_in_flight)",
        r#"{__name__=~"rr_server_in_flight|rr_servers_in_flight"}"#,
    ] {
        assert!(emitted.missing(&Query::parse(wrong).unwrap()).is_some(), "{wrong}");
    }
    // Whatever is emitted is on the dashboard.
    let shown = dashboard.to_string();
    let base = |name: &str| {
        let name = name.strip_suffix("_bucket").or(name.strip_suffix("_sum")).unwrap_or(name);
        name.strip_suffix("_count").unwrap_or(name).to_owned()
    };
    for name in emitted.0.keys() {
        assert!(shown.contains(&base(name)), "{name} is on no panel");
    }
}

#[test]
fn the_dashboard_has_what_grafana_needs() {
    let dashboard = dashboard();
    assert_eq!(dashboard["id"], Value::Null, "the id is that of a database");
    assert!(!text(&dashboard, "uid").is_empty() && text(&dashboard, "uid").len() <= 40);
    assert!(!text(&dashboard, "title").is_empty());
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36, "panels name their data source");
    let (mut ids, mut places) = (BTreeSet::new(), Vec::new());
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: the id is taken");
        let place = ["x", "y", "w", "h"].map(|it| panel["gridPos"][it].as_u64().unwrap());
        assert!(place[2] > 0 && place[3] > 0 && place[0] + place[2] <= 24, "{title}: {place:?}");
        assert!(!places.iter().any(|other| overlap(&place, other)), "{title} is over another");
        places.push(place);
        match text(panel, "type") {
            "row" => assert_eq!(list(panel, "targets").len(), 0),
            "stat" | "timeseries" => check(panel),
            other => panic!("{title}: a panel of type {other}"),
        }
    }
}

fn overlap(a: &[u64; 4], b: &[u64; 4]) -> bool {
    let along = |at: usize| a[at] < b[at] + b[at + 2] && b[at] < a[at] + a[at + 2];
    along(0) && along(1)
}

/// Checks a panel that shows data.
fn check(panel: &Value) {
    let title = text(panel, "title");
    assert!(!title.is_empty() && !text(panel, "description").is_empty(), "{title}");
    let unit = text(&panel["fieldConfig"]["defaults"], "unit");
    assert!(["cps", "none", "percentunit", "reqps", "s", "short"].contains(&unit), "{title}");
    let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps");
    assert_eq!(steps[0]["value"], Value::Null, "{title}: the first step has no bound");
    let mut ids = BTreeSet::new();
    for query in [std::slice::from_ref(panel), list(panel, "targets")].concat() {
        let source = &query["datasource"];
        assert_eq!((text(source, "type"), text(source, "uid")), ("prometheus", "${datasource}"));
    }
    for target in list(panel, "targets") {
        assert!(ids.insert(text(target, "refId").to_owned()), "{title}: the refId is taken");
        assert!(!text(target, "legendFormat").is_empty(), "{title}");
    }
    assert!(!ids.is_empty(), "{title} has no query");
}
