//! Results and verdicts: tables that fit 120 columns, and JSON.

use std::fs;
use std::path::Path;

use rr_benches_peers::Result;

use crate::judge::{Outcome, Verdict};
use crate::results::{Group, Results, Row, rate};

/// What each peer took, one table for each load.
pub(crate) fn tables(results: &Results) {
    for group in &results.groups {
        println!("\n{}, {}", group.family, group.place);
        println!(
            "  {:<24}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}",
            "",
            "calls/s",
            "p50 us",
            "p99 us",
            "p99.9",
            "CPU s/M",
            "broker",
            "MiB",
            "allocs",
            "bytes"
        );
        for row in &group.rows {
            println!("  {:<24}{}", row.peer, line(results, group, row));
        }
    }
    if let Some([off, on, none]) = results.allocator_nanos {
        println!(
            "\nAllocations are counted in runs of their own. Elsewhere the allocator adds {:.1} ns to an allocation \
             and its\nrelease ({off:.1} ns; {on:.1} while it counts, {none:.1} without it).",
            off - none
        );
    }
}

fn line(results: &Results, group: &Group, row: &Row) -> String {
    if row.rounds.iter().all(Option::is_none) {
        return format!("{:>10}", "-");
    }
    let summary = row.summary();
    let broker = if group.family == "NATS" { figure(summary.broker_cpu) } else { String::new() };
    let count =
        results.counts.iter().find(|count| count.peer == row.peer && count.place == group.place);
    let (allocations, bytes) = count.map_or_else(Default::default, |count| {
        (format!("{:.1}", count.allocations), format!("{:.0}", count.bytes))
    });
    format!(
        "{:>10.0}{:>9}{:>9}{:>9}{:>9}{broker:>9}{:>8.0}{allocations:>9}{bytes:>9}",
        summary.calls_per_second,
        figure(summary.p50_micros),
        figure(summary.p99_micros),
        figure(summary.p999_micros),
        figure(summary.cpu),
        summary.peak_mib,
    )
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The ratios, cell by cell.
pub(crate) fn ratios(verdicts: &[Verdict]) {
    let ratios: Vec<_> = verdicts.iter().filter(|verdict| verdict.is_ratio).collect();
    if ratios.is_empty() {
        return;
    }
    println!("\nRatios within a round: the median over the rounds, and their quartiles");
    for verdict in ratios {
        println!("  {}, gate {}, goal {}", verdict.label, verdict.gate, verdict.goal);
        for figure in &verdict.figures {
            let outcome = verdict.of(figure.value);
            let word = match (figure.judged, outcome) {
                (true, _) | (_, Outcome::NotMeasured) => outcome.word(),
                (false, _) => "",
            };
            let (low, high) = figure.quartiles;
            if figure.value.is_nan() {
                println!("    {:<38}{:>8}   {:>16}   {word}", figure.at, "-", "");
                continue;
            }
            println!(
                "    {:<38}{:>8.2}   {low:>6.2} .. {high:<6.2}   {word}",
                figure.at, figure.value
            );
        }
    }
}

/// The budgets, figure by figure.
pub(crate) fn budgets(verdicts: &[Verdict]) {
    let budgets: Vec<_> = verdicts.iter().filter(|verdict| !verdict.is_ratio).collect();
    if budgets.is_empty() {
        return;
    }
    println!("\nBudgets");
    for verdict in budgets {
        println!("  {}, at most {:.0}, goal {:.0}", verdict.label, verdict.gate, verdict.goal);
        for figure in &verdict.figures {
            let word = verdict.of(figure.value).word();
            println!("    {:<38}{:>8}   {word}", figure.at, amount(figure.value));
        }
    }
}

fn amount(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// One line for each gate, by the figure that decides.
pub(crate) fn summary(verdicts: &[Verdict], results: &Results) {
    println!("\n{}, {:.0} s", results.machine.line(), results.seconds);
    for complaint in &results.complaints {
        println!("not measured: {complaint}");
    }
    println!("\n{:<42}{:>9}{:>8}{:>8}  {:<14}at", "gate", "measured", "gate", "goal", "verdict");
    for verdict in verdicts {
        let worst = verdict.worst();
        let measured = verdict.outcome != Outcome::NotMeasured;
        let at = worst.filter(|_| measured).map_or("", |figure| &figure.at);
        let value = worst.map_or(f64::NAN, |figure| figure.value);
        let measured = match verdict.outcome {
            Outcome::NotMeasured => "-".to_owned(),
            _ if verdict.is_ratio => format!("{value:.2}"),
            _ => amount(value),
        };
        let (gate, goal) = if verdict.is_ratio {
            (format!("{:.2}", verdict.gate), format!("{:.2}", verdict.goal))
        } else {
            (amount(verdict.gate), amount(verdict.goal))
        };
        let label = &verdict.label;
        println!("{label:<42}{measured:>9}{gate:>8}{goal:>8}  {:<14}{at}", verdict.outcome.word());
    }
    let met = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    println!("{met} of {} gates are met", verdicts.len());
}

/// Writes all of it as JSON.
pub(crate) fn write(path: &Path, results: &Results, verdicts: &[Verdict]) -> Result<()> {
    let cells: Vec<_> = results
        .groups
        .iter()
        .flat_map(|group| group.rows.iter().map(move |row| (group, row)))
        .map(|(group, row)| {
            let rates: Vec<_> =
                row.rounds.iter().map(|round| round.as_ref().map(|d| rate(d).round())).collect();
            serde_json::json!({
                "family": group.family,
                "peer": row.peer,
                "place": group.place,
                "median": row.summary(),
                "calls_per_second_by_round": rates,
            })
        })
        .collect();
    let held: Vec<_> = results
        .held
        .iter()
        .map(|(url, bytes)| serde_json::json!({ "url": url, "bytes": bytes }))
        .collect();
    let document = serde_json::json!({
        "machine": results.machine,
        "seconds": results.seconds.round(),
        "cells": cells,
        "allocations": results.counts,
        "layers": results.layers,
        "held": held,
        "allocator_nanos": results.allocator_nanos,
        "gates": verdicts,
        "not_measured": results.complaints,
    });
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(())
}
