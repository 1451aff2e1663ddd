//! Plot of the answered calls over time, as SVG.

use std::fmt::Write as _;

use crate::report::Figures;
use crate::scenario::Scenario;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;

/// Space around the axes.
const LEFT: f64 = 56.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 40.0;
const RIGHT: f64 = 16.0;

/// Colours of the sets of layers, told apart also without red and green.
const COLOURS: [&str; 5] = ["#d55e00", "#cc79a7", "#0072b2", "#009e73", "#000000"];

/// Draws a line for each set of layers.
pub(crate) fn svg(scenario: &Scenario, figures: &[Figures]) -> String {
    let seconds = scenario.lasts.as_secs() as f64;
    let x = |second: f64| LEFT + second / seconds * (WIDTH - LEFT - RIGHT);
    let y = |part: f64| TOP + (1.0 - part) * (HEIGHT - TOP - BOTTOM);
    let (begins, ends) = (Scenario::begins().as_secs_f64(), scenario.ends.as_secs_f64());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <rect x=\"{:.0}\" y=\"{TOP}\" width=\"{:.0}\" height=\"{:.0}\" fill=\"#f3f0e6\"/>\n",
        x(begins),
        x(ends) - x(begins),
        HEIGHT - TOP - BOTTOM
    );
    for percent in [0, 25, 50, 75, 100] {
        let at = y(f64::from(percent) / 100.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.0}\" y2=\"{at:.0}\" stroke=\"#ddd\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{percent} %</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for second in (0..=scenario.lasts.as_secs()).step_by(10) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{second} s</text>",
            x(second as f64),
            HEIGHT - BOTTOM + 18.0
        );
    }
    for (figures, colour) in figures.iter().zip(COLOURS) {
        let points = figures.goodput.iter().enumerate();
        let points = points.map(|(at, part)| format!("{:.1},{:.1}", x(at as f64 + 0.5), y(*part)));
        let points: Vec<_> = points.collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
    }
    let mut at = LEFT;
    for (figures, colour) in figures.iter().zip(COLOURS) {
        let name = figures.stack.name();
        let _ = writeln!(
            svg,
            "<rect x=\"{at:.0}\" y=\"16\" width=\"18\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"22\">{name}</text>",
            at + 24.0
        );
        at += 44.0 + 7.0 * name.len() as f64;
    }
    svg.push_str("</svg>\n");
    svg
}
