"""What a host opens on a phone: a statement as HTML fits each window, and no number, date or MAC is on two lines."""

from datetime import date
from decimal import Decimal
from pathlib import Path

from support import documents_of_money as money
from support.browser import browser
from support.commands import run
from support.servers import Connection

FAULTS = """
const width = document.documentElement.clientWidth;
const found = [];
if (document.documentElement.scrollWidth > width)
  found.push(`the page is ${document.documentElement.scrollWidth} wide`);
for (const it of document.querySelectorAll("td, dd, p, li, h1, h2, svg")) {
  const box = it.getBoundingClientRect();
  if (box.width && (box.right > width + 0.5 || box.left < -0.5)) found.push(`${it.textContent} ends at ${box.right}`);
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode;
  if (text.parentElement.closest("svg, style")) continue;
  for (const word of text.data.matchAll(/\\S*[0-9]\\S*/g)) {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    if (new Set(Array.from(range.getClientRects(), each => Math.round(each.top))).size > 1)
      found.push(`${word[0]} is on several lines`);
  }
}
return found;
"""


def test_it_fits_a_phone_and_a_wall(database: str, connection: Connection, tmp_path: Path) -> None:
    owner = money.tenant(connection, "acme", language="de")
    router = money.router(connection, "a router with the longest of names, in the lobby of the hotel", owner)
    connection.execute("UPDATE routers SET mac = '02:00:5d:00:00:04'")
    used = {(router, date(2026, 10, day)): (day * 10**12, day * 10**13) for day in range(1, 30)}
    octets = sum(sum(pair) for pair in used.values())
    lines = [
        money.line(
            "702.00",
            usage_bytes=octets,
            quantity=Decimal(octets) / 10**9,
            unit="GB",
            unit_price=Decimal("0.00012345678"),
            tax_rate=Decimal(19),
            tax_rule="VAT 19 %",
            arithmetic=f"{octets} Oktette / 1.000.000.000 = {octets // 10**9} GB",
        ),
        money.line("-5.00", kind="adjustment", tax_rate=Decimal(19), tax_rule="VAT 19 %"),
    ]
    made = money.document(
        connection, owner, lines, used=used, recipient={"name": "acme", "address": "Am Platz 1\n10115 Berlin"}
    )
    money.credit(connection, made, reason="a day of failure", net="5.95", number=1)
    run(
        database,
        "billing",
        "statement",
        "--period",
        "2026-10",
        "--tenant",
        "acme",
        "-o",
        tmp_path / "acme.html",
    )
    with browser(f"file://{tmp_path}") as opened:
        for width in (320, 360, 600, 800, 801, 1280, 3840):
            opened.size(width, 800)
            opened.open("/acme.html")
            assert opened.script(FAULTS) == [], width
            # Each amount of a line has the name of its column, above or before it.
            seen = opened.script("return document.querySelector('thead').getBoundingClientRect().height > 0")
            before = opened.script(
                "return getComputedStyle(document.querySelector('td.r:last-child'), '::before').content"
            )
            assert seen != ("Betrag (EUR)" in before), width
