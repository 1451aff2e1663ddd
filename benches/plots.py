"""Draws results/*.svg from results/full.json; with --check, fails unless they are so drawn.

`cargo xtask bench --json benches/results/full.json` writes the results on a quiet machine.
"""

import json
import sys
from functools import partial
from html import escape as escape_all
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

# Quotes stand in text alone.
escape = partial(escape_all, quote=False)

# Pixels.
WIDTH, NAME_WIDTH, VALUE_WIDTH = 860, 158, 56
PANEL_WIDTH = WIDTH // 2
ROOM = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH
BAR_HEIGHT, BAR_STEP = 15, 21
TITLE_HEIGHT, PANEL_TITLE_HEIGHT, NOTE_HEIGHT = 36, 26, 26

# Bodies, and whether the server is a separate process.
PANELS = [
    (16, False, "16 B, one process"),
    (16, True, "16 B, two processes"),
    (64 * 1024, False, "64 KiB, one process"),
    (64 * 1024, True, "64 KiB, two processes"),
]

# Colours that keep their contrast on light and on dark ground; text follows the reader's scheme.
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #24292f }
    .title { font-size: 15px; font-weight: 600 }
    .panel { font-weight: 600 }
    .note { font-size: 10px; fill: #6e7781 }
    .bar { fill: #8c959f }
    .ours { fill: #d4672c }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #8d96a0 } }"""


def bars(results, family, body, split):
    """Returns the name and the thousands of calls per second of each peer, 64 calls at a time."""
    place = {"body_bytes": body, "concurrency": 64, "split": split}
    cells = [cell for cell in results["cells"] if cell["family"] == family]
    cells = [cell for cell in cells if cell["place"] == place]
    if not cells:
        sys.exit(f"full.json has nothing about {family}, {place}")
    return [(cell["peer"], cell["median"]["calls_per_second"] / 1000) for cell in cells]


def panel(title, rows, left, top):
    """Draws the bars of one scale."""
    yield f'  <text class="panel" x="{left + 8}" y="{top + 16}">{escape(title)}</text>'
    most, start = max(value for _, value in rows), left + NAME_WIDTH
    for at, (name, value) in enumerate(rows):
        y = top + PANEL_TITLE_HEIGHT + at * BAR_STEP
        width, base = value / most * ROOM, y + 12
        kind = "ours" if name.startswith("rr") else "bar"
        size = f'width="{width:.1f}" height="{BAR_HEIGHT}"'
        yield f'  <text x="{start - 6}" y="{base}" text-anchor="end">{escape(name)}</text>'
        yield f'  <rect class="{kind}" x="{start}" y="{y}" {size} rx="2"/>'
        yield f'  <text x="{start + width + 5:.1f}" y="{base}">{value:.1f}</text>'


def chart(results, family):
    """Draws a file: two panels in each row under one title, and a note on the machine."""
    panels = [(title, bars(results, family, body, split)) for body, split, title in PANELS]
    lines, top = [], TITLE_HEIGHT
    for first in range(0, len(panels), 2):
        row = panels[first : first + 2]
        for column, (title, rows) in enumerate(row):
            lines += panel(title, rows, column * PANEL_WIDTH, top)
        top += max(PANEL_TITLE_HEIGHT + len(rows) * BAR_STEP + 12 for _, rows in row)
    height = top + NOTE_HEIGHT
    title = f"Calls over {family}: thousands of calls per second, 64 at a time"
    note = "commit {commit}, {cpu}, {cores} cores, Linux {kernel}".format(**results["machine"])
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n  <title>{title}</title>'
    head += f'\n  <style>\n{STYLE}\n  </style>\n  <text class="title" x="8" y="22">{title}</text>'
    note = f'  <text class="note" x="8" y="{height - 10}">{escape(note)}</text>'
    return "\n".join([head, *lines, note, "</svg>\n"])


RESULT = json.loads((RESULTS / "full.json").read_text())
for FAMILY in ["HTTP", "NATS"]:
    FILE = RESULTS / f"{FAMILY.lower()}.svg"
    if "--check" not in sys.argv:
        FILE.write_text(chart(RESULT, FAMILY))
    elif FILE.read_text() != chart(RESULT, FAMILY):
        sys.exit(f"{FILE} is not what plots.py draws")
