"""What a page says about itself: live only while figures come, whatever clocks do."""

from collections.abc import Mapping

import psycopg
from support.browser import Browser

# A second stream of this browser is open: then that of the page, which began before it, is open, too.
OPENED = "window.second = window.second || new EventSource('/api/v1/stream'); return window.second.readyState"
FIGURES = """
for (const [at, packets] of [[4102448400, 5], [4102444800, 7]]) {
  const detail = {at, packets_per_second: packets, routers: {}};
  document.dispatchEvent(new CustomEvent("radmeter:figures", {detail}));
}
return document.querySelector("#p-packets [data-chart-words]").textContent"""


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
