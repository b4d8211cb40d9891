"""What a page says about itself: live only while figures come, whatever clocks do."""

from collections.abc import Mapping

import psycopg
from support.browser import Browser
from support.http_server import HttpServer
from support.noc_pages import SIZES

# A second stream of this browser is open: then that of the page, which began before it, is open, too.
OPENED = "window.second = window.second || new EventSource('/api/v1/stream'); return window.second.readyState"
FIGURES = """
for (const [at, packets] of [[4102448400, 5], [4102444800, 7]]) {
  const detail = {at, packets_per_second: packets, routers: {}};
  document.dispatchEvent(new CustomEvent("radmeter:figures", {detail}));
}
return document.querySelector("#p-packets [data-chart-words]").textContent"""

# As many letters as values have.
LONG_VALUES = """
const detail = {at: 4102444800, bytes_in_per_second: 123e6, bytes_out_per_second: 123e6, packets_per_second: 999,
  routers: {}};
document.dispatchEvent(new CustomEvent("radmeter:figures", {detail}));"""
# Names of series whose value nobody sees.
CUT_OFF = """
return [...document.querySelectorAll(".chart")].flatMap((chart) => [...chart.querySelectorAll(".u-series")].slice(1)
  .filter((it) => {
    const box = it.getBoundingClientRect(), place = chart.getBoundingClientRect();
    return !box.width || box.bottom > place.bottom + 1 || box.right > place.right + 1;
  }).map((it) => it.textContent));"""
# Charts with more room below their legends than two lines.
UNUSED = """
const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
return [...document.querySelectorAll(".chart")].map((it) => it.getBoundingClientRect().bottom
  - it.querySelector(".u-legend").getBoundingClientRect().bottom).filter((room) => room > 2 * rem);"""
HEARD = """
const detail = {at: 1, newest_seconds: 0.1, routers: {}};
document.dispatchEvent(new CustomEvent("radmeter:figures", {detail}));"""
NEWEST = "[data-figure=newest_seconds]"


def test_a_page_is_live_when_figures_come_and_not_before(
    chromium: Browser, keys: Mapping[str, str], database: str
) -> None:
    chromium.log_in(keys["noc"])
    with psycopg.connect(database) as other:
        # No reading of figures succeeds. Nothing else needs the table.
        other.execute("LOCK TABLE radmeter.journal_incident IN ACCESS EXCLUSIVE MODE")
        chromium.open("/sites")
        chromium.until("the stream is open", lambda: chromium.script(OPENED) == 1)
        assert chromium.text(".live") == "connecting"
    chromium.until("figures come", lambda: chromium.text(".live") == "live")


def test_a_chart_goes_on_after_a_clock_was_set_back(chromium: Browser, keys: Mapping[str, str]) -> None:
    chromium.log_in(keys["noc"])
    assert "now 7.0, most 7.0" in chromium.script(FIGURES)


def test_a_legend_has_room_for_its_values(chromium: Browser, keys: Mapping[str, str]) -> None:
    chromium.log_in(keys["noc"])
    for width, height in SIZES:
        chromium.size(width, height)

        def seen() -> bool:
            chromium.script(LONG_VALUES)
            return "984 Mbit/s" in chromium.text("#p-throughput .u-legend") and chromium.script(CUT_OFF) == []

        chromium.until(f"the legends are seen at {width}", seen)
        # They take no more room than they need.
        chromium.until(f"the rest is for the charts at {width}", lambda: chromium.script(UNUSED) == [])


def test_figures_of_a_page_that_is_not_live_are_past(
    chromium: Browser, keys: Mapping[str, str], pages: HttpServer
) -> None:
    chromium.log_in(keys["noc"])
    chromium.until("live", lambda: chromium.text(".live") == "live")
    chromium.script(HEARD)
    before = _look(chromium)
    pages.stop()
    chromium.until("not live", lambda: chromium.text(".live").startswith("not live"))
    chromium.until("the newest packet is older", lambda: chromium.text(NEWEST) not in ("–", "0.1 s"))
    assert _look(chromium) != before


def _look(browser: Browser) -> object:
    """Return how a figure looks."""
    return browser.script(
        "const it = getComputedStyle(document.querySelector('.tile dd')); return [it.color, it.fontStyle]"
    )
