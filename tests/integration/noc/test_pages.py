"""The pages in Chromium: they move, they fit, they can be used without eyes or a mouse, and hostile names stay text."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.browser import Browser
from support.http_server import HttpServer
from support.noc_scene import HOSTILE
from support.servers import Connection

PAGES = (
    "/",
    "/routers",
    "/routers?state=silent",
    "/routers/12",
    "/routers/60",
    "/sites",
    "/sessions",
    "/user?name=user5",
    "/quotas",
    "/pipeline",
    "/alerts",
    "/doctor",
    "/search?q=user",
)
SIZES = ((360, 800), (1280, 900), (3840, 2160))
GROW = """
UPDATE router_daily_usage SET bytes_in = bytes_in + 30000000, bytes_out = bytes_out + 90000000,
    last_updated = clock_timestamp()
WHERE usage_date = (now() AT TIME ZONE 'UTC')::date AND router_id < 5"""
COUNT = """
UPDATE radmeter.journal_segment SET records = records + 500, last_received_at = clock_timestamp(),
    updated_at = clock_timestamp()"""


@pytest.fixture
def noc(chromium: Browser, keys: Mapping[str, str]) -> Browser:
    """A browser that is logged in with a key of the role noc."""
    chromium.size(1280, 900)
    chromium.log_in(keys["noc"])
    return chromium


def test_figures_charts_and_states_follow_what_is_counted(noc: Browser, scene: Connection) -> None:
    noc.until("the stream is read", lambda: noc.text(".live") == "live")
    noc.until("silent routers", lambda: noc.text("[data-figure='routers.silent']") == "7")
    assert noc.text("[data-figure='routers.late']") == "2"
    assert noc.text("[data-figure='routers.discovered']") == "1"
    assert noc.text("[data-figure='open_sessions']") == "120"
    assert "ap-006" in noc.text("[aria-labelledby='h-trouble']")

    def moves() -> bool:
        scene.execute(GROW)
        scene.execute(COUNT)
        return noc.text("[data-figure='packets_per_second']") not in ("–", "0.0") and "Mbit/s" in noc.text(
            "[data-figure='bytes_out_per_second']"
        )

    noc.until("packets and octets are shown", moves)
    noc.until("the chart is drawn", lambda: "most" in noc.text("[data-chart-words]"))
    # A router that was heard becomes silent, and another is heard again: without loading the page.
    scene.execute("UPDATE radmeter.router_watch SET phase = 'firing', since = now() WHERE router_id = 1")
    noc.until("one silent router more", lambda: noc.text("[data-figure='routers.silent']") == "8")
    noc.until("it is in the list", lambda: "ap-001" in noc.text("[aria-labelledby='h-trouble']"))
    scene.execute(
        "INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)"
        " VALUES ('silent', 'router_silent', 'critical', 1, now(), now())"
    )
    noc.until("the alert", lambda: "router ap-001" in noc.text("[aria-labelledby='h-alerts']"))
    assert noc.console_faults() == []


def test_all_pages_are_clean_in_both_themes(noc: Browser) -> None:
    faults = []
    for path in PAGES:
        noc.open(path)
        for theme in ("dark", "light"):
            noc.theme(theme)
            faults += [f"{path} {theme}: {each}" for each in noc.accessibility_faults()]
        faults += [f"{path}: {each}" for each in noc.console_faults()]
    assert faults == []


def test_every_size_fits_and_has_its_picture(noc: Browser, tmp_path: Path) -> None:
    kept = Path(os.environ.get("RADMETER_PICTURES", tmp_path))
    for path, name in (
        ("/", "noc"),
        ("/routers", "routers"),
        ("/routers/12", "router"),
        ("/sessions", "sessions"),
    ):
        for width, height in SIZES:
            noc.size(width, height)
            noc.theme("dark")
            noc.open(path)
            noc.until("live", lambda: noc.text(".live") == "live")
            assert not noc.is_wider_than_its_window(), (path, width)
            picture = kept / f"{name}-{width}.png"
            noc.picture(picture, whole=False)
            assert picture.stat().st_size > 10_000
            # On a wall text is read from afar; on a phone a finger finds the links.
            size = noc.script("return parseFloat(getComputedStyle(document.documentElement).fontSize)")
            assert size == (27 if width == 3840 else 15), (path, width)


def test_hostile_names_stay_text(noc: Browser) -> None:
    for path in (
        *PAGES,
        "/routers/12",
        "/sessions?username=%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'owned'%22%3E",
    ):
        noc.open(path)
        assert noc.all("img") == [], path
        assert noc.all("main b") == [], path
        assert "owned" not in noc.driver.title.replace(HOSTILE, ""), path
    noc.open("/routers/12")
    assert noc.text("h1") == HOSTILE


def test_keys_reach_the_search_and_the_pages(noc: Browser) -> None:
    noc.until("scripts run", lambda: noc.text(".live") == "live")
    body = noc.one("body")
    body.send_keys("/")
    assert noc.script("return document.activeElement.id") == "search"
    noc.one("#search").send_keys("02-AA-00-00-00-05\n")
    noc.until("the device is found", lambda: "user5" in noc.text("[aria-labelledby='h-open']"))
    noc.one("body").send_keys("gr")
    noc.until("the page of routers", lambda: noc.driver.current_url.endswith("/routers"))
    noc.one("input[name=q]").send_keys("ap-04")
    noc.until("only those are left", lambda: len(noc.all("#rows tbody tr")) == 1)


def test_the_zone_and_the_theme_are_kept(noc: Browser) -> None:
    noc.script(
        "const it = document.querySelector('#zone'); it.value = arguments[0];"
        "it.dispatchEvent(new Event('change', {bubbles: true}))",
        "Asia/Tokyo",
    )
    noc.until("the zone is shown", lambda: "Times are in Asia/Tokyo" in noc.text("footer"))
    noc.script(
        "const it = document.querySelector('#theme'); it.value = 'light';"
        "it.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    noc.until("it is light", lambda: noc.script("return document.documentElement.dataset.theme") == "light")
    noc.open("/sessions")
    assert "Times are in Asia/Tokyo" in noc.text("footer")
    assert "+0900" in noc.script("return document.querySelector('time').title")


def test_an_alert_is_acknowledged_and_muted(noc: Browser, scene: Connection) -> None:
    noc.open("/alerts")
    noc.one("form[action='/alerts/1/acknowledge'] button").click()
    noc.until("said", lambda: "acknowledged" in noc.text(".said"))
    noc.one("form[action='/alerts/2/mute'] button").click()
    noc.until("said", lambda: "muted" in noc.text(".said"))
    assert scene.execute("SELECT acked_by FROM radmeter.alerts WHERE id = 1").fetchone() == ("key noc",)
    assert scene.execute("SELECT rule, router_id FROM radmeter.alert_mutes").fetchall() == [("silent", 12)]


def test_a_discovered_router_is_claimed_and_a_session_disconnected(noc: Browser, scene: Connection) -> None:
    noc.open("/routers/60")
    noc.one("form[action='/routers/60/claim'] button").click()
    noc.until("said", lambda: "claimed" in noc.text(".said"))
    assert scene.execute("SELECT status, name FROM routers WHERE id = 60").fetchone() == ("active", "ap-new")
    noc.open("/user?name=user5")
    noc.one("form[action$='/disconnect'] button").click()
    noc.driver.switch_to.alert.accept()
    noc.until("said", lambda: "in the queue" in noc.text(".said"))
    assert scene.execute("SELECT username, requested_by FROM radmeter.disconnect_queue").fetchall() == [
        ("user5", "key noc")
    ]


def test_a_page_says_that_it_is_not_live(noc: Browser, pages: HttpServer) -> None:
    noc.until("live", lambda: noc.text(".live") == "live")
    pages.stop()
    noc.until(
        "it says so", lambda: noc.script("return document.querySelector('.live').dataset.state") == "off"
    )


def test_a_host_sees_its_own_and_nothing_else(
    chromium: Browser, keys: Mapping[str, str], tmp_path: Path
) -> None:
    chromium.log_in(keys["tenant:Hotel Adler"])
    assert chromium.driver.current_url.endswith("/site")
    assert chromium.text("h1") == "Hotel Adler"
    text = chromium.text("body")
    assert "ap-001" in text
    assert "ap-006" not in text
    assert "Camping" not in text
    assert "GiB" in chromium.text(".tiles")
    for theme in ("dark", "light"):
        chromium.theme(theme)
        assert chromium.accessibility_faults() == []
    chromium.size(360, 800)
    assert not chromium.is_wider_than_its_window()
    chromium.size(1280, 900)
    chromium.picture(Path(os.environ.get("RADMETER_PICTURES", tmp_path)) / "site-1280.png", whole=False)
    chromium.open("/site/routers/1")
    assert chromium.text("h1") == "ap-001"
    chromium.open("/site/routers/6")
    assert "no such router" in chromium.text("main")
    for path in PAGES:
        chromium.open(path)
        assert "ap-006" not in chromium.text("body"), path
    assert chromium.console_faults() == [] or all(
        "403" in each or "404" in each for each in chromium.console_faults()
    )
