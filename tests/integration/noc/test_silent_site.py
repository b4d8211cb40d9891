"""From a router that sends nothing to the screen: the jobs look, the server is told, and the page in Chromium moves."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from support.browser import Browser
from support.event_stream import EventStream
from support.http_server import HttpServer
from support.load_factor import load_factor
from support.processes import Jobs, until
from support.servers import Connection
from support.shipping import fill, ship

INTERIM, INTERIMS = 60, 3
# Long enough that the site is seen to be well after the last change of the test.
LEFT_SECONDS = 4
PROMISED_SECONDS = 2.0
LONG = "RADMETER_LONG" in os.environ
UNKNOWN = "–"
SITE = f"""
INSERT INTO routers (id, name, timezone, site, status, interim_interval)
SELECT number, 'alm-' || number, 'UTC', 'Alm', 'active', {INTERIM} FROM generate_series(2001, 2003) AS number;
INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     arrived_at, interim_interval, counted_at)
SELECT 'alm' || id, 'alm' || id, 'guest' || id, id, '10.1.0.1', now() - interval '1 hour', now(), now(), {INTERIM},
       now()
FROM routers WHERE site = 'Alm'"""
# The last interims came so long ago that the third one is missed in a moment. Returns when, in seconds since 1970.
MISSED = f"""
WITH last AS (SELECT now() - interval '{INTERIM * INTERIMS - LEFT_SECONDS} seconds' AS at),
     session AS (UPDATE radacct SET arrived_at = last.at FROM last WHERE acctsessionid LIKE 'alm%'),
     watch AS (UPDATE radmeter.router_watch SET arrived_at = last.at, heard_at = last.at,
                      due_at = last.at + interval '{INTERIM * INTERIMS} seconds'
               FROM last WHERE router_id BETWEEN 2001 AND 2003)
SELECT extract(epoch FROM last.at + interval '{INTERIM * INTERIMS} seconds')::float8 FROM last"""
# Notes when the page first shows what it is to show, by the browser's clock.
WATCH = """
window.shown = {};
const wanted = {
  site: ["[aria-labelledby='h-sites']", /Alm[^A-Z]*down/], routers: ["[aria-labelledby='h-trouble']", /alm-2003/],
  alert: ["[aria-labelledby='h-alerts']", /site Alm/],
};
const look = () => {
  for (const [name, [selector, text]] of Object.entries(wanted)) {
    if (!(name in window.shown) && text.test(document.querySelector(selector).textContent)) {
      window.shown[name] = Date.now() / 1000;
    }
  }
};
new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
look();"""


def test_a_silent_site_is_on_the_stream_and_the_screen_two_seconds_after_its_third_missed_interim(
    chromium: Browser,
    pages: HttpServer,
    keys: Mapping[str, str],
    scene: Connection,
    database: str,
    tmp_path: Path,
) -> None:
    scene.execute(SITE.encode())
    chromium.size(1280, 900)
    chromium.log_in(keys["noc"])
    chromium.until("live", lambda: chromium.text(".live") == "live")
    with Jobs(tmp_path / "jobs.log", database).start(), closing(EventStream(pages, keys["reader"])) as stream:
        stream.next("figures")
        until("the jobs watch the site", lambda: _phases(scene) == ["ok"] * 3)
        # They have just begun, and wait until shippers could have caught up: as if that was long ago.
        until("they fire again", lambda: _no_grace(scene))
        assert chromium.script(WATCH + "return window.shown") == {}
        found = scene.execute(MISSED.encode()).fetchone()
        assert found is not None
        chromium.until("all of it is shown", lambda: len(chromium.script("return window.shown")) == 3, 60)
        shown = chromium.script("return window.shown")
        shown["told"] = _told_at(stream, found[0])
    late = {name: at - found[0] for name, at in shown.items()}
    assert min(late.values()) >= 0, late
    assert max(late.values()) <= PROMISED_SECONDS * load_factor(), late


def test_throughput_moves_when_packets_are_counted(
    chromium: Browser, keys: Mapping[str, str], database: str, tmp_path: Path
) -> None:
    chromium.log_in(keys["noc"])
    if LONG:
        chromium.until("octets", lambda: _figure(chromium, "bytes_in_per_second") == "0.0 bit/s", 120)
    fill(tmp_path / "journal", range(600))
    ship(tmp_path / "journal", database)
    chromium.until("packets move", lambda: _figure(chromium, "packets_per_second") not in ("0.0", UNKNOWN))
    if LONG:
        moves = lambda: _figure(chromium, "bytes_in_per_second") not in ("0.0 bit/s", UNKNOWN)  # noqa: E731
        chromium.until("octets move", moves)
    else:
        # There is no mean of a minute yet.
        assert _figure(chromium, "bytes_in_per_second") == UNKNOWN


def _figure(browser: Browser, name: str) -> str:
    return browser.text(f"[data-figure='{name}']")


def _told_at(stream: EventStream, missed_at: float) -> float:
    """Return when the stream told of the silent routers and of the alert of their site."""
    at: dict[str, float] = {}
    while len(at) < 2:
        event = stream.next("routers", "alerts")
        if event.data["at"] >= missed_at and (event.name == "alerts" or event.data["changed"]):
            at.setdefault(event.name, event.data["at"])
    return max(at.values())


def _phases(connection: Connection) -> list[str]:
    return [
        row[0]
        for row in connection.execute(
            "SELECT phase FROM radmeter.router_watch WHERE router_id BETWEEN 2001 AND 2003"
        )
    ]


def _no_grace(connection: Connection) -> bool:
    connection.execute("UPDATE radmeter.alert_state SET resumed_at = now() - interval '1 hour'")
    before = connection.execute("SELECT ticked_at FROM radmeter.alert_state").fetchone()
    until(
        "another look",
        lambda: connection.execute("SELECT ticked_at FROM radmeter.alert_state").fetchone() != before,
    )
    return connection.execute(
        "SELECT resumed_at < now() - interval '30 minutes' FROM radmeter.alert_state"
    ).fetchone() == (True,)
