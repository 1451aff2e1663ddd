//! Ledgers on the page: a bar for each stage, placed where the stage began.

use std::fmt::{self, Write};

use super::failures::{Ledger, StageTime};
use super::format::{Millis, Text};

/// Width of the drawing area of a bar, in the units of its view box.
const WIDTH: f64 = 1000.0;

/// Smallest width of a bar that can be seen.
const WIDTH_MIN: f64 = 6.0;

/// Writes the attempts of a failure. Numbers them if there are several.
pub(super) fn write_all(page: &mut String, ledgers: &[Ledger]) -> fmt::Result {
    let mut before = 0;
    for ledger in ledgers {
        if ledgers.len() > 1 {
            let again = if ledger.attempt == before { " again" } else { "" };
            write_outcome(page, ledger, again)?;
        }
        before = ledger.attempt;
        write_stages(page, &ledger.stages)?;
        if let Some(note) = &ledger.note {
            write!(page, "<p class=note>{}</p>", Text(note))?;
        }
    }
    Ok(())
}

fn write_outcome(page: &mut String, ledger: &Ledger, again: &str) -> fmt::Result {
    let reason = ledger.reason.as_deref().unwrap_or(ledger.code);
    write!(page, "<p class=attempt><b>Attempt {}{again}</b> {}", ledger.attempt, Text(reason))?;
    if let Some(endpoint) = &ledger.endpoint {
        write!(page, " at {}", Text(endpoint))?;
    }
    write!(page, ", {}", Millis(ledger.elapsed_ms))?;
    if let Some(decision) = &ledger.decision {
        write!(page, "; {}", Text(decision))?;
    }
    page.write_str("</p>")
}

fn write_stages(page: &mut String, stages: &[StageTime]) -> fmt::Result {
    if stages.is_empty() {
        return Ok(());
    }
    let total = stages.iter().map(|stage| stage.ms).sum::<f64>().max(f64::MIN_POSITIVE);
    let mut before = 0.0;
    page.write_str("<ul class=ledger>")?;
    for stage in stages {
        let width = (stage.ms / total * WIDTH).max(WIDTH_MIN);
        let begin = (before / total * WIDTH).min(WIDTH - width);
        write!(
            page,
            "<li><span class=stage>{}</span>\
             <svg viewBox=\"0 0 {WIDTH} 8\" preserveAspectRatio=none aria-hidden=true>\
             <rect class=track width={WIDTH} height=8 /><rect class=s{} x={begin:.0} width={width:.0} height=8 /></svg>\
             <span class=num>{}</span></li>",
            Text(stage.stage),
            stage.number,
            Millis(stage.ms),
        )?;
        before += stage.ms;
    }
    page.write_str("</ul>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(number: usize, ms: f64) -> StageTime {
        StageTime { stage: "waiting", ms, number }
    }

    #[test]
    fn bars_follow_each_other_and_stay_within_the_drawing() {
        let mut page = String::new();
        write_stages(&mut page, &[stage(1, 750.0), stage(6, 250.0), stage(7, 0.001)]).unwrap();
        for bar in ["s1 x=0 width=750", "s6 x=750 width=250", "s7 x=994 width=6"] {
            assert!(page.contains(bar), "{bar}: {page}");
        }
    }

    #[test]
    fn stages_without_time_are_drawn_without_dividing_by_zero() {
        let mut page = String::new();
        write_stages(&mut page, &[stage(1, 0.0)]).unwrap();
        assert!(page.contains("x=0 width=6"), "{page}");
        let mut page = String::new();
        write_stages(&mut page, &[]).unwrap();
        assert!(page.is_empty());
    }
}
