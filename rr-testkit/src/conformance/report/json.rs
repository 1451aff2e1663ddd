//! The report as a JSON document.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Outcome, Report, Row};
use crate::conformance::{Capability, Level};

#[derive(Serialize)]
struct Document<'a> {
    transport: &'a str,
    edition: &'a str,
    capabilities: BTreeMap<String, bool>,
    parallel_max: usize,
    totals: Totals,
    cases: Vec<Case<'a>>,
}

#[derive(Default, Serialize)]
struct Totals {
    passed: usize,
    failed: usize,
    warned: usize,
    failed_as_known: usize,
    skipped: usize,
}

#[derive(Serialize)]
struct Case<'a> {
    name: &'a str,
    level: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
}

/// Writes a report.
pub(super) fn write(report: &Report) -> String {
    let mut totals = Totals::default();
    let cases = report.rows.iter().map(|row| count_case(report, row, &mut totals)).collect();
    let capability =
        |&known: &Capability| (known.to_string().replace(' ', "_"), report.capabilities.has(known));
    let document = Document {
        transport: &report.transport,
        edition: report.edition,
        capabilities: Capability::ALL.iter().map(capability).collect(),
        parallel_max: report.capabilities.parallel_max,
        totals,
        cases,
    };
    // Strings, numbers and lists of them always serialize.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn count_case<'a>(report: &Report, row: &'a Row, totals: &mut Totals) -> Case<'a> {
    let (outcome, total) = match &row.outcome {
        Outcome::Passed => ("passed", &mut totals.passed),
        Outcome::Skipped(_) => ("skipped", &mut totals.skipped),
        Outcome::Failed(_) if report.fails(row) => ("failed", &mut totals.failed),
        Outcome::Failed(_) => ("warned", &mut totals.warned),
        Outcome::FailedAsKnown(_) => ("failed_as_known", &mut totals.failed_as_known),
    };
    *total += 1;
    let level = match row.level {
        Level::Must => "must",
        Level::Should => "should",
        Level::Preview => "preview",
    };
    Case { name: &row.name, level, outcome, text: row.outcome.text() }
}
