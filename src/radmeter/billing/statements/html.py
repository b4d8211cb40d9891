"""A statement as one HTML file: no script, nothing to load, and a policy that allows neither.

The policy names the digest of the style sheet, so the page also works where a server forbids inline styles.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape

from radmeter.billing.statements.layout import Page, Part, Table

STYLE = """
body { font: 14px/1.4 "DejaVu Sans", "Noto Sans", sans-serif; color: #222; }
body { max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin: 0 0 .6em; overflow-wrap: anywhere; }
h2 { font-size: 1.1em; margin: 1.8em 0 .4em; }
section + section { break-before: page; border-top: 2px solid #222; margin-top: 3em; padding-top: 2em; }
.mark { border: 2px solid #b5482f; color: #b5482f; padding: .5em .8em; font-weight: bold; }
.parties { display: grid; grid-template-columns: 1fr 1fr; gap: 2em; margin: 1.2em 0; }
.parties p { margin: 0; overflow-wrap: anywhere; }
.label { color: #666; font-size: .85em; }
.facts { display: grid; grid-template-columns: 1fr 1fr; gap: 2em; align-items: start; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15em 1.2em; margin: 0; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
.totals dd { text-align: right; font-variant-numeric: tabular-nums; }
.totals strong { color: #222; }
table { border-collapse: collapse; width: 100%; font-size: .9em; }
th, td { text-align: left; vertical-align: top; padding: .3em .5em; border-bottom: 1px solid #ddd; }
td { overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid #222; }
.w { width: 100%; }
.l { white-space: nowrap; }
.r { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tfoot td { font-weight: bold; border-bottom: none; border-top: 2px solid #222; }
tr { break-inside: avoid; }
small { display: block; color: #666; }
svg { width: 100%; height: auto; }
li { margin: .2em 0; }
@media screen and (max-width: 50em) {
  body { margin: 1em auto; }
  h1 { font-size: 1.3em; }
  .totals { grid-template-columns: 1fr auto; }
  .totals dd { overflow-wrap: normal; }
  .parties, .facts { grid-template-columns: minmax(0, 1fr); gap: 1em; }
  thead { display: none; }
  table, tbody, tfoot, tr { display: block; }
  tr { padding: .4em 0; border-bottom: 1px solid #ddd; }
  tfoot tr { border-bottom: none; border-top: 2px solid #222; }
  td, tfoot td { display: flex; justify-content: space-between; gap: 1em; padding: .1em 0; border: none; }
  td:empty { display: none; }
  td::before { content: attr(data-label); color: #666; font-weight: normal; }
  td.w { display: block; }
  td.w::before { content: none; }
}
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'"
)


def as_html(page: Page) -> bytes:
    """Return the file."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="{page.language}">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(page.title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            *(_part(part) for part in page.parts),
            "</body>",
            "</html>\n",
        ]
    ).encode()


def _part(part: Part) -> str:
    parties = "".join(
        f'<div><p class="label">{escape(label)}</p>{"".join(f"<p>{_name(line)}</p>" for line in lines)}</div>'
        for label, lines in part.parties
    )
    chart = f"<h2>{escape(part.chart_title)}</h2>\n{part.chart}" if part.chart else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in part.notes)
    return "\n".join(
        [
            "<section>",
            f"<h1>{_name(part.title)}</h1>",
            f'<p class="mark">{escape(part.mark)}</p>' if part.mark else "",
            f'<div class="parties">{parties}</div>',
            f'<div class="facts"><dl>{_facts(part.facts)}</dl>'
            f'<dl class="totals">{_totals(part.totals)}</dl></div>',
            chart,
            *(_table(table) for table in part.tables),
            f"<ul>{notes}</ul>",
            "</section>",
        ]
    )


def _name(text: str) -> str:
    """Return text of others: its direction of writing does not turn what is beside it."""
    return f"<bdi>{escape(text)}</bdi>" if text else ""


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<dt>{escape(label)}</dt><dd>{_name(value)}</dd>" for label, value in facts)


def _totals(totals: Sequence[tuple[str, str, bool]]) -> str:
    return "".join(
        f"<dt><strong>{escape(label)}</strong></dt><dd><strong>{escape(value)}</strong></dd>"
        if strong
        else f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>"
        for label, value, strong in totals
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(text)}</th>'
        for text, kind in zip(table.head, table.align, strict=True)
    )
    # On a phone each cell is a line, with the name of its column before it.
    cells = [
        f'<td class="{kind}" data-label="{escape(text)}">'
        for text, kind in zip(table.head, table.align, strict=True)
    ]
    rows = "\n".join(
        f"<tr>{''.join(f'{begin}{_cell(cell)}</td>' for cell, begin in zip(row, cells, strict=True))}</tr>"
        for row in table.rows
    )
    foot = "".join(f"{begin}{escape(text)}</td>" for text, begin in zip(table.foot, cells, strict=False))
    return (
        f"<h2>{escape(table.title)}</h2>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        + (f"<tfoot><tr>{foot}</tr></tfoot>\n" if table.foot else "")
        + "</table>"
    )


def _cell(lines: Sequence[str]) -> str:
    first, *more = lines or [""]
    return _name(first) + "".join(f"<small>{_name(line)}</small>" for line in more)
