//! Bars as SVG, readable on light and on dark ground.

use std::fmt::Write as _;

/// Pixels.
const WIDTH: u32 = 860;
const PANEL_WIDTH: u32 = WIDTH / 2;
const NAME_WIDTH: u32 = 158;
const VALUE_WIDTH: u32 = 56;
const BAR_HEIGHT: u32 = 15;
const BAR_STEP: u32 = 21;
const TITLE_HEIGHT: u32 = 36;
const PANEL_TITLE_HEIGHT: u32 = 26;
const NOTE_HEIGHT: u32 = 26;

/// Colours that keep their contrast on both grounds; text changes with the reader's scheme.
const STYLE: &str = "\
    text { font: 12px system-ui, sans-serif; fill: #24292f }
    .title { font-size: 15px; font-weight: 600 }
    .panel { font-weight: 600 }
    .note { font-size: 10px; fill: #6e7781 }
    .bar { fill: #8c959f }
    .ours { fill: #d4672c }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #8d96a0 } }";

/// A few panels of bars under one title.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) panels: Vec<Panel>,
    pub(super) note: String,
}

/// Bars of one scale.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) ours: bool,
}

impl Chart {
    /// The whole file; two panels stand side by side.
    pub(super) fn draw(&self) -> String {
        let mut body = String::new();
        let mut top = TITLE_HEIGHT;
        for row in self.panels.chunks(2) {
            for (column, panel) in (0..).zip(row) {
                panel.draw(&mut body, column * PANEL_WIDTH, top);
            }
            top += row.iter().map(Panel::height).max().unwrap_or(0);
        }
        let height = top + NOTE_HEIGHT;
        let (title, note) = (escaped(&self.title), escaped(&self.note));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\">\n  <title>{title}</title>\n  <style>\n{STYLE}\n  </style>\n  \
             <text class=\"title\" x=\"8\" y=\"22\">{title}</text>\n{body}  \
             <text class=\"note\" x=\"8\" y=\"{}\">{note}</text>\n</svg>\n",
            height - 10
        )
    }
}

impl Panel {
    fn height(&self) -> u32 {
        PANEL_TITLE_HEIGHT + self.bars.len() as u32 * BAR_STEP + 12
    }

    fn draw(&self, body: &mut String, left: u32, top: u32) {
        let most = self.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
        let room = f64::from(PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH);
        let title = escaped(&self.title);
        let (x, y) = (left + 8, top + 16);
        // Writing to a string cannot fail.
        let _ = writeln!(body, "  <text class=\"panel\" x=\"{x}\" y=\"{y}\">{title}</text>");
        for (at, bar) in (0..).zip(&self.bars) {
            let y = top + PANEL_TITLE_HEIGHT + at * BAR_STEP;
            let width = bar.value / most * room;
            let class = if bar.ours { "ours" } else { "bar" };
            let (start, base) = (left + NAME_WIDTH, y + 12);
            let _ = writeln!(
                body,
                "  <text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\n  \
                 <rect class=\"{class}\" x=\"{start}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\n  \
                 <text x=\"{:.1}\" y=\"{base}\">{:.1}</text>",
                start - 6,
                escaped(&bar.name),
                f64::from(start) + width + 5.0,
                bar.value,
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> String {
        let bar = |name: &str, value| Bar { name: name.to_owned(), value, ours: value > 50.0 };
        let bars = vec![bar("rr <h1>", 100.0), bar("other & sons", 50.0)];
        let panels = vec![Panel { title: "16 B".to_owned(), bars }];
        Chart { title: "Calls".to_owned(), panels, note: "commit abc".to_owned() }.draw()
    }

    #[test]
    fn the_longest_bar_takes_all_the_room_and_half_of_it_half() {
        let drawn = chart();
        let room = f64::from(PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH);
        assert!(drawn.contains(&format!("width=\"{room:.1}\"")), "{drawn}");
        assert!(drawn.contains(&format!("width=\"{:.1}\"", room / 2.0)), "{drawn}");
    }

    #[test]
    fn names_are_escaped() {
        let drawn = chart();
        assert!(drawn.contains("rr &lt;h1&gt;") && drawn.contains("other &amp; sons"), "{drawn}");
    }
}
