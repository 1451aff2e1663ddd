//! The report as Markdown, for a README.

use std::fmt::Write as _;

use super::{Outcome, Report, Row};
use crate::conformance::{Capability, Level, cases};

/// Writes a report. Results are dropped, since writing to a string cannot fail.
pub(super) fn write(report: &Report) -> String {
    let mut out = String::new();
    let Report { transport, edition, .. } = report;
    let _ = writeln!(out, "Edition {edition} of the conformance suite over `{transport}`:\n");
    table(report, &mut out);
    capabilities(report, &mut out);
    let reasoned = |wanted: fn(&Outcome) -> bool| {
        let wanted = report.rows.iter().filter(move |row| wanted(&row.outcome));
        wanted.map(|row| (row.outcome.text(), row))
    };
    let skipped = reasoned(|outcome| matches!(outcome, Outcome::Skipped(_)));
    list("Skipped", skipped, &mut out);
    let known = reasoned(|outcome| matches!(outcome, Outcome::FailedAsKnown(_)));
    list("Known to fail", known, &mut out);
    // The text of a failure differs between runs; only the `Display` table shows it.
    let failed = report.failures().map(|row| match row.level {
        Level::Must => ("these must hold", row),
        _ => ("these should hold", row),
    });
    list("Failed", failed, &mut out);
    let uncounted = report.rows.iter().filter(|row| row.level != Level::Must && !report.fails(row));
    let uncounted = uncounted.filter_map(|row| match (row.level, &row.outcome) {
        (Level::Preview, Outcome::Passed) => Some(("these are new", row)),
        (Level::Preview, Outcome::Failed(_)) => Some(("these are new, and do not hold", row)),
        (_, Outcome::Passed) => Some(("these should hold", row)),
        (_, Outcome::Failed(_)) => Some(("these should hold, and do not", row)),
        _ => None,
    });
    list("Run, but not counted above", uncounted, &mut out);
    out
}

/// Writes the table of groups with their outcome counts.
fn table(report: &Report, out: &mut String) {
    let _ = writeln!(out, "| group | cases | pass | skipped | known to fail | not run |");
    let _ = writeln!(out, "|---|---|---|---|---|---|");
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for case in cases().iter().filter(|case| case.level() == Level::Must) {
        match groups.last_mut() {
            Some((group, count)) if *group == case.group() => *count += 1,
            _ => groups.push((case.group(), 1)),
        }
    }
    let bound = || report.rows.iter().filter(|row| row.level == Level::Must);
    for &(group, count) in &groups {
        let of_group = |row: &&Row| row.name.split_once('/').is_some_and(|(own, _)| own == group);
        line(group, count, bound().filter(of_group), out);
    }
    line("all", groups.iter().map(|(_, count)| count).sum(), bound(), out);
}

fn line<'a>(name: &str, count: usize, rows: impl Iterator<Item = &'a Row>, out: &mut String) {
    let (mut passed, mut skipped, mut known, mut run) = (0, 0, 0, 0);
    for row in rows {
        run += 1;
        match row.outcome {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(_) => skipped += 1,
            Outcome::FailedAsKnown(_) => known += 1,
            Outcome::Failed(_) => {}
        }
    }
    let _ = write!(out, "| {name} | {count} | {passed} |");
    for count in [skipped, known, count - run] {
        // An empty cell reads better than a zero.
        let _ = if count == 0 { write!(out, " |") } else { write!(out, " {count} |") };
    }
    out.push('\n');
}

fn capabilities(report: &Report, out: &mut String) {
    let list = |there: bool| -> Vec<String> {
        let wanted = Capability::ALL.iter().filter(|&&it| report.capabilities.has(it) == there);
        wanted.map(|capability| format!("`{capability}`")).collect()
    };
    let (there, missing) = (list(true), list(false));
    let text = |list: &[String]| if list.is_empty() { "none".into() } else { list.join(", ") };
    let _ = writeln!(out, "\nCapabilities: {}; missing: {}.", text(&there), text(&missing));
    let parallel = report.capabilities.parallel_max;
    let _ = writeln!(out, "Tried with up to {parallel} calls at once.");
}

/// Writes the cases grouped by reason, in order.
fn list<'a>(title: &str, rows: impl Iterator<Item = (&'a str, &'a Row)>, out: &mut String) {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for (reason, row) in rows {
        let name = format!("`{}`", row.name);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    if !reasons.is_empty() {
        let _ = writeln!(out, "\n{title}:\n");
    }
    for (reason, names) in reasons {
        let _ = writeln!(out, "* {reason}: {}", names.join(", "));
    }
}
