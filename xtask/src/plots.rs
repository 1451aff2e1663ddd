//! `cargo xtask plots`: the README's plots from the committed results.

mod svg;

use std::fs;

use serde_json::Value;

use crate::command::{Outcome, root};
use svg::{Bar, Chart, Panel};

/// What `cargo xtask bench --json` wrote on a quiet machine.
const RESULTS: &str = "benches/results/full.json";

/// Where the plots go.
const FOLDER: &str = "benches/results";

/// Bodies and where the server runs, as in the plots.
const PLACES: [(u64, bool, &str); 4] = [
    (16, false, "16 B, one process"),
    (16, true, "16 B, two processes"),
    (64 * 1024, false, "64 KiB, one process"),
    (64 * 1024, true, "64 KiB, two processes"),
];

/// Runs the command `plots`.
pub(crate) fn plots() -> Outcome {
    let text = fs::read_to_string(root().join(RESULTS)).map_err(|error| {
        format!("cannot read {RESULTS}: {error}; `cargo xtask bench --json {RESULTS}` writes it")
    })?;
    let results =
        serde_json::from_str(&text).map_err(|error| format!("{RESULTS} is no JSON: {error}"))?;
    for (file, family, title) in
        [("http.svg", "HTTP", "Calls over HTTP"), ("nats.svg", "NATS", "Calls over NATS")]
    {
        let path = format!("{FOLDER}/{file}");
        fs::write(root().join(&path), chart(&results, family, title)?.draw())
            .map_err(|error| format!("cannot write {path}: {error}"))?;
        println!("{path}");
    }
    Ok(())
}

/// Calls per second of every peer of a family, 64 at a time.
fn chart(results: &Value, family: &str, title: &str) -> Outcome<Chart> {
    let mut panels = Vec::new();
    for (body, split, name) in PLACES {
        let cells = results["cells"].as_array().into_iter().flatten().filter(|cell| {
            let place = &cell["place"];
            cell["family"] == family
                && place["body_bytes"] == body
                && place["concurrency"] == 64
                && place["split"] == split
        });
        let bars: Vec<_> = cells.filter_map(bar).collect();
        if bars.is_empty() {
            return Err(format!("{RESULTS} has nothing about {family}, {name}"));
        }
        panels.push(Panel { title: name.to_owned(), bars });
    }
    Ok(Chart {
        title: format!("{title}: thousands of calls per second, 64 at a time"),
        panels,
        note: note(&results["machine"]),
    })
}

fn bar(cell: &Value) -> Option<Bar> {
    let name = cell["peer"].as_str()?;
    let value = cell["median"]["calls_per_second"].as_f64()?;
    Some(Bar { name: name.to_owned(), value: value / 1000.0, ours: name.starts_with("rr") })
}

/// Where the figures come from, without any name of a host.
fn note(machine: &Value) -> String {
    let text = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
    let (commit, cpu, kernel) = (text("commit"), text("cpu"), text("kernel"));
    format!("commit {commit}, {cpu}, {} cores, Linux {kernel}", machine["cores"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Value {
        let cell = |peer: &str, body: u64, split: bool| {
            json!({
                "family": "HTTP",
                "peer": peer,
                "place": { "body_bytes": body, "concurrency": 64, "split": split },
                "median": { "calls_per_second": 12_345.0 },
            })
        };
        let cells = PLACES.map(|(body, split, _)| cell("rr-http h1", body, split));
        json!({ "machine": { "commit": "abc", "cores": 2 }, "cells": cells })
    }

    #[test]
    fn every_place_becomes_a_panel() {
        let chart = chart(&results(), "HTTP", "Calls").unwrap();
        assert_eq!(chart.panels.len(), PLACES.len());
        let bar = &chart.panels[0].bars[0];
        assert!(bar.ours && (bar.value - 12.345).abs() < 1e-9);
        assert!(chart.note.contains("abc") && chart.note.contains("2 cores"));
    }

    #[test]
    fn a_family_that_was_not_measured_is_a_complaint() {
        assert!(chart(&results(), "NATS", "Calls").is_err());
    }
}
