"""Where the parts of a page are, whatever its fonts: rows of parts, with their shares of the width.

A part that moves below another one, that gets wider, or that is gone, is seen, and so is a column of a table. How high
a line is, and what a figure says, is not.
"""

import json
import os
from pathlib import Path

from support.browser import Browser

Part = tuple[str, int, int]
# In percent of the width: a bar for scrolling, and roundings.
TOLERANCE = 3
READ = """
const width = document.documentElement.clientWidth, found = [];
const seen = (it) => { const box = it.getBoundingClientRect(); return box.width > 2 && box.height > 2 ? box : null; };
const words = (it) => it.textContent.trim().replace(/\\s+/g, " ");
const add = (name, it) => {
  const box = seen(it);
  if (box) found.push([name, box.top + scrollY, 100 * box.left / width, 100 * box.width / width]);
};
for (const it of document.querySelectorAll("header.top, main, footer")) add(it.tagName.toLowerCase(), it);
for (const it of document.querySelectorAll("main .tile")) add("tile " + words(it.querySelector("dt")), it);
for (const it of document.querySelectorAll("main form.filters")) add("form", it);
for (const it of document.querySelectorAll("main ul.chips")) add("chips", it);
for (const it of document.querySelectorAll("main section")) {
  const heading = document.getElementById(it.getAttribute("aria-labelledby"));
  add("panel " + (heading ? words(heading) : it.getAttribute("aria-label")), it);
}
return found;"""
# The columns that are shown.
TABLES = """
return [...document.querySelectorAll("main table:not(.u-legend)")].filter((it) => !it.closest("details:not([open])"))
  .map((it) => [...it.querySelectorAll("thead th")].filter((each) => each.getBoundingClientRect().width > 2)
    .map((each) => each.textContent.trim()).join(" | "));"""
# Text that is cut off, or that is beside the page. What scrolls by itself may be wider.
CUT_OFF = """
const scrolls = (it) => it && (/(auto|scroll)/.test(getComputedStyle(it).overflowX) || scrolls(it.parentElement));
const faults = [];
for (const it of document.querySelectorAll("body *")) {
  if (it.closest(".hidden, .skip, details:not([open]) > :not(summary), .chart") || it.closest("svg")) continue;
  const box = it.getBoundingClientRect();
  if (box.width < 2 || box.height < 2 || scrolls(it)) continue;
  if (box.right > document.documentElement.clientWidth + 1 || box.left < -1) faults.push("beside the page: ");
  else if (it.scrollWidth > it.clientWidth + 1 && it.clientWidth && getComputedStyle(it).overflowX === "hidden") {
    faults.push("cut off: ");
  } else continue;
  faults[faults.length - 1] += it.outerHTML.slice(0, 120);
}
return faults.slice(0, 5);"""


def rows_of(browser: Browser) -> list[list[Part]]:
    """Return the parts of the page, those beside each other in one row; the last row has the tables."""
    rows: list[list[Part]] = []
    last = float("-inf")
    for name, top, left, width in sorted(
        browser.script(READ), key=lambda each: (round(each[1] / 8), each[2])
    ):
        if top - last > 8:
            rows.append([])
            last = top
        rows[-1].append((name, round(left), round(width)))
    return [*rows, [(f"table {columns}", 0, 0) for columns in browser.script(TABLES)]]


class Kept:
    """The layouts that are kept in a file. With RADMETER_LAYOUT=write they are written anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writes = os.environ.get("RADMETER_LAYOUT") == "write"
        self._kept: dict[str, list[list[Part]]] = json.loads(path.read_text()) if path.exists() else {}

    def faults(self, name: str, browser: Browser) -> list[str]:
        """Return in what the page differs from what is kept, and what of it cannot be read."""
        found = rows_of(browser)
        faults = [f"{name}: {each}" for each in browser.script(CUT_OFF)]
        if self._writes:
            self._kept[name] = found
            lines = (f"{json.dumps(key)}: {json.dumps(self._kept[key])}" for key in sorted(self._kept))
            self._path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
            return faults
        kept = [
            [(str(part[0]), int(part[1]), int(part[2])) for part in row] for row in self._kept.get(name, [])
        ]
        if [[part[0] for part in row] for row in found] != [[part[0] for part in row] for row in kept]:
            return [*faults, f"{name}: other parts or another order: {found}, kept: {kept}"]
        for row, row_kept in zip(found, kept, strict=True):
            for part, part_kept in zip(row, row_kept, strict=True):
                if max(abs(part[1] - part_kept[1]), abs(part[2] - part_kept[2])) > TOLERANCE:
                    faults.append(f"{name}: {part}, kept: {part_kept}")
        return faults
