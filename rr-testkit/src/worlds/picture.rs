//! Sequence diagrams of a world: for Mermaid, and as SVG.

use std::fmt::Write as _;
use std::time::Duration;

use super::fault::{Fault, Place};
use super::trace::{Event, Trace, What};

/// Distance between two participants, in pixels.
const LANE: usize = 220;

/// Height of a row, in pixels.
const ROW: usize = 34;

/// Space left of the first lane, for the times.
const LEFT: usize = 130;

/// Space above the first row, for the names.
const TOP: usize = 64;

/// Faults that are drawn as a request that does not arrive.
const REQUESTS_LOST: [Fault; 3] = [Fault::ConnectFails, Fault::RequestLost, Fault::Partitioned];

/// Faults that are drawn as a reply that does not arrive.
const REPLIES_LOST: [Fault; 3] = [Fault::ReplyLost, Fault::BrokenAfter, Fault::CallerCrashed];

/// Faults that are noted where the reply arrives.
const OF_REPLIES: [Fault; 2] = [Fault::CrashedOnReply, Fault::ReplyOvertaken];

/// Row of a diagram.
enum Row<'a> {
    Arrow { from: &'a str, to: &'a str, label: String, is_reply: bool, is_lost: bool },
    Note { at: &'a str, text: String, is_fault: bool },
}

impl Trace {
    /// Returns a sequence diagram in the language of Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut diagram = "sequenceDiagram".to_owned();
        for (_, row) in self.rows() {
            diagram.push_str("\n    ");
            let _ = match row {
                Row::Arrow { from, to, label, is_reply, is_lost } => {
                    let line = if is_reply { "--" } else { "-" };
                    let head = if is_lost { "x" } else { ">>" };
                    write!(diagram, "{from}{line}{head}{to}: {label}")
                }
                Row::Note { at, text, .. } => write!(diagram, "Note over {at}: {text}"),
            };
        }
        diagram
    }

    /// Returns a sequence diagram as a self-contained SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let (lanes, rows) = (self.lanes(), self.rows());
        let (width, height) = (LEFT + LANE * lanes.len(), TOP + ROW * (rows.len() + 1));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        for (at, name) in lanes.iter().enumerate() {
            svg.push_str(&drawn_lane(name, middle(at), height - ROW / 2));
        }
        let mut before = None;
        for (number, (at, row)) in rows.iter().enumerate() {
            let y = TOP + ROW * (number + 1) - ROW / 2;
            if before.replace(*at) != Some(*at) {
                let millis = at.as_millis();
                let _ = writeln!(
                    svg,
                    "<text x=\"12\" y=\"{}\" fill=\"#777\">{millis} ms</text>",
                    y + 4
                );
            }
            svg.push_str(&drawn(row, &lanes, y));
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Returns the names of the participants, in the order in which they appear.
    fn lanes(&self) -> Vec<&str> {
        let mut lanes = Vec::new();
        for name in self.places.iter().flat_map(|place| [place.from.as_str(), place.to.as_str()]) {
            if !lanes.contains(&name) {
                lanes.push(name);
            }
        }
        lanes
    }

    fn rows(&self) -> Vec<(Duration, Row<'_>)> {
        self.events.iter().filter_map(|event| Some((event.at, self.row(event)?))).collect()
    }

    /// Returns the row of an event; `None` if the picture shows the event in another row, or not.
    fn row(&self, event: &Event) -> Option<Row<'_>> {
        let Place { from, to, target, nth } = self.places.get(event.call)?;
        let name = format!("{} #{nth}", target.rsplit('.').next().unwrap_or(target));
        let fault = self.fault(event.call);
        let lost = |faults: &[Fault]| fault.filter(|fault| faults.contains(fault)).map(in_words);
        let reply = |label: String, is_lost| Row::Arrow {
            from: to,
            to: from,
            label,
            is_reply: true,
            is_lost,
        };
        let note = |at, text| Row::Note { at, text, is_fault: false };
        Some(match &event.what {
            What::Sent { .. } => {
                let lost = lost(&REQUESTS_LOST);
                let is_lost = lost.is_some();
                let label = lost.map_or_else(|| name.clone(), |fault| format!("{name}: {fault}"));
                Row::Arrow { from, to, label, is_reply: false, is_lost }
            }
            &What::Struck(fault) => {
                let is_drawn = lost(&REQUESTS_LOST).or_else(|| lost(&REPLIES_LOST)).is_some();
                let is_at_caller = OF_REPLIES.contains(&fault);
                let at = if is_at_caller { from } else { to };
                let note = Row::Note { at, text: in_words(fault), is_fault: true };
                return (!is_drawn).then_some(note);
            }
            What::Entered { .. } => note(to, format!("{name} runs")),
            What::Answered(summary) => {
                let lost = lost(&REPLIES_LOST)?;
                reply(format!("{}: {lost}", summary.short()), true)
            }
            What::Returned(summary) if self.is_answer(event.call, summary) => {
                reply(summary.short(), false)
            }
            What::Returned(summary) => note(from, format!("{name}: {}", summary.short())),
            What::GaveUp => note(from, format!("{name}: gave up")),
        })
    }
}

fn in_words(fault: Fault) -> String {
    fault.name().replace('-', " ")
}

/// Returns the middle of a lane.
fn middle(lane: usize) -> usize {
    LEFT + LANE * lane + LANE / 2
}

/// Draws the name of a participant, and a line down to `end`.
fn drawn_lane(name: &str, x: usize, end: usize) -> String {
    format!(
        "<line x1=\"{x}\" x2=\"{x}\" y1=\"44\" y2=\"{end}\" stroke=\"#bbb\"/>\n\
         <rect x=\"{}\" y=\"14\" width=\"140\" height=\"30\" rx=\"4\" fill=\"#eef\" \
         stroke=\"#557\"/>\n\
         <text x=\"{x}\" y=\"34\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\n",
        x - 70,
        escaped(name)
    )
}

fn drawn(row: &Row<'_>, lanes: &[&str], y: usize) -> String {
    let x = |name: &str| middle(lanes.iter().position(|lane| *lane == name).unwrap_or(0));
    match row {
        Row::Note { at, text, is_fault } => drawn_note(text, *is_fault, x(at), y),
        Row::Arrow { from, to, label, is_reply, is_lost } => {
            let dashes = if *is_reply { " stroke-dasharray=\"5 4\"" } else { "" };
            drawn_arrow(label, dashes, *is_lost, (x(from), x(to)), y)
        }
    }
}

fn drawn_note(text: &str, is_fault: bool, x: usize, y: usize) -> String {
    let (fill, stroke) = if is_fault { ("#fdd", "#b33") } else { ("#ffd", "#aa8") };
    let width = 16 + 7 * text.chars().count().min(40);
    format!(
        "<rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"22\" rx=\"3\" fill=\"{fill}\" \
         stroke=\"{stroke}\"/>\n<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" \
         font-size=\"12\">{}</text>\n",
        x.saturating_sub(width / 2),
        y - 11,
        y + 4,
        escaped(text)
    )
}

fn drawn_arrow(
    label: &str,
    dashes: &str,
    is_lost: bool,
    (begin, end): (usize, usize),
    y: usize,
) -> String {
    // A lost message ends halfway.
    let end = if is_lost { usize::midpoint(begin, end) } else { end };
    let colour = if is_lost { "#b33" } else { "#224" };
    let head = head(end, y, end < begin, is_lost, colour);
    format!(
        "<line x1=\"{begin}\" x2=\"{end}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\"{dashes}/>\n\
         {head}<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{colour}\">{}</text>\n",
        usize::midpoint(begin, end),
        y - 5,
        escaped(label)
    )
}

/// Draws the end of an arrow: a head, or a cross.
fn head(x: usize, y: usize, is_back: bool, is_lost: bool, colour: &str) -> String {
    if is_lost {
        return format!(
            "<path d=\"M{} {}l10 10m0 -10l-10 10\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            x.saturating_sub(5),
            y - 5
        );
    }
    let back = if is_back { x + 9 } else { x.saturating_sub(9) };
    format!("<path d=\"M{x} {y}L{back} {}L{back} {}Z\" fill=\"{colour}\"/>\n", y - 5, y + 5)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use rr_spi::Delivery;

    use super::super::trace::Summary;
    use super::*;

    #[test]
    fn a_picture_names_its_fault_once() {
        let ok = Summary { code: None, delivery: Delivery::Processed, reason: None };
        for fault in Fault::ALL.into_iter().chain(Fault::ORDERS) {
            let (from, to) = ("shop".to_owned(), "stock".to_owned());
            let place = Place { from, to, target: "stock.take".to_owned(), nth: 1 };
            let what = [
                What::Sent { left: None },
                What::Struck(fault),
                What::Entered { instance: 0 },
                What::Answered(ok.clone()),
                What::Returned(ok.clone()),
            ];
            let event = |what| Event { at: Duration::ZERO, call: 0, what };
            let events = what.map(event).into();
            let trace = Trace { events, places: vec![place], ..Trace::default() };
            let name = in_words(fault);
            assert_eq!(trace.svg().matches(&name).count(), 1, "{fault}: {}", trace.svg());
            assert_eq!(trace.mermaid().matches(&name).count(), 1, "{fault}: {}", trace.mermaid());
        }
    }
}
