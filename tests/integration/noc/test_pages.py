"""The pages in Chromium: they move, they fit, they can be used without eyes or a mouse, and hostile names stay text."""

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.keys import Keys
from support.browser import Browser
from support.http_server import HttpServer
from support.layout import Kept
from support.noc_pages import PAGES, SIZES
from support.noc_scene import HOSTILE, JUST_NOW, USUAL_NAMES, WAVES
from support.servers import Connection

from radmeter.alerts import store

# Where the pictures of the documents are renewed.
PICTURES = Path(os.environ["RADMETER_PICTURES"]) if "RADMETER_PICTURES" in os.environ else None
PICTURED_SECONDS = 150
LAYOUT = Path(__file__).parent / "layout.json"
# Of today, whichever day that is by now.
GROW = """
INSERT INTO router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out, last_updated)
SELECT number, (now() AT TIME ZONE 'UTC')::date, 30000000, 90000000, clock_timestamp()
FROM generate_series(1, 4) AS number
ON CONFLICT (router_id, usage_date) DO UPDATE SET bytes_in = usage.bytes_in + EXCLUDED.bytes_in,
    bytes_out = usage.bytes_out + EXCLUDED.bytes_out, last_updated = EXCLUDED.last_updated"""
COUNT = """
UPDATE radmeter.journal_segment SET records = records + 500, last_received_at = clock_timestamp(),
    updated_at = clock_timestamp()"""

# What a page writes: one unit for octets, commands without the signs around them; and names for the focus, which is
# where it was when a part of the page has been read again.
WRITTEN = r"""
const faults = [], text = document.querySelector("main").textContent;
// What lies on a disk is in powers of 1024. Only two pages have it.
const ofDisks = ["/pipeline", "/doctor"].includes(location.pathname);
const binary = ofDisks ? [] : text.match(/[0-9][0-9.,]* ?[KMGTP]iB\b/g) || [];
for (const each of binary) faults.push("another unit: " + each);
if (text.includes("`")) faults.push("backticks");
const stops = "a[href], button, input:not([type=hidden]), select, summary, [tabindex]";
for (const part of document.querySelectorAll("[hx-trigger*=every]")) {
  for (const it of part.querySelectorAll(stops)) if (!it.id) faults.push("has no id: " + it.outerHTML.slice(0, 120));
}
const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push("twice: " + id);
return faults;"""
# Names of series whose value nobody sees.
LEGENDS = """
return [...document.querySelectorAll(".chart")].flatMap((chart) => [...chart.querySelectorAll(".u-series")].slice(1)
  .filter((it) => {
    const box = it.getBoundingClientRect(), place = chart.getBoundingClientRect();
    return !box.width || box.bottom > place.bottom + 1 || box.right > place.right + 1;
  }).map((it) => it.textContent));"""
CHARTS_OF_DAYS = """
const faults = [];
for (const it of document.querySelectorAll(".days")) {
  const seen = [...it.querySelectorAll("svg")].filter((each) => each.getBoundingClientRect().width);
  if (seen.length !== 1) { faults.push(`${seen.length} charts`); continue; }
  const place = it.getBoundingClientRect(), drawn = seen[0].getBoundingClientRect();
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  for (const each of seen[0].querySelectorAll("text")) {
    const box = each.getBoundingClientRect(), high = parseFloat(getComputedStyle(each).fontSize) * drawn.width
      / seen[0].viewBox.baseVal.width;
    if (box.left < place.left - 1 || box.right > place.right + 1) faults.push("cut off: " + each.textContent);
    // Not larger than the title of the page.
    if (high < 0.6 * rem || high > 1.35 * rem) faults.push(`letters of ${high} px: ${each.textContent}`);
  }
  const bars = [...seen[0].querySelectorAll("rect")].sort((one, two) => one.getAttribute("x") - two.getAttribute("x"));
  if (bars.length < 3) continue;  // Those of the legend: nothing is counted.
  const last = bars.pop().getBoundingClientRect();
  if (drawn.width < place.width * 0.95) faults.push("the chart leaves room");
  if (last.right > place.right + 1 || last.left < place.left - 1) faults.push("today is not seen");
}
return faults;"""
# What has figures, but for those that the stream writes, and for what a router is.
FIGURES = (
    "main :is(table, dl, ul):not(.tile, .u-legend, "
    "[aria-labelledby=h-is] *, [aria-label=Which], [aria-label=Statuses])"
)
MARK = f"""
for (const it of document.querySelectorAll("{FIGURES}")) it.dataset.before = "yes";
document.dispatchEvent(new CustomEvent("radmeter:resync"));"""
MARKED = f"""
return [...document.querySelectorAll("{FIGURES}")].filter((it) => it.dataset.before)
  .map((it) => it.outerHTML.slice(0, 100));"""


def test_figures_charts_and_states_follow_what_is_counted(noc: Browser, scene: Connection) -> None:
    noc.until("the stream is read", lambda: noc.text(".live") == "live")
    noc.until("silent routers", lambda: noc.text("[data-figure='routers.silent']") == "7")
    assert noc.text("[data-figure='routers.late']") == "2"
    assert noc.text("[data-figure='routers.discovered']") == "1"
    assert noc.text("[data-figure='open_sessions']") == "121"
    assert "ap-006" in noc.text("[aria-labelledby='h-trouble']")
    # It is heard.
    assert "ap-new" not in noc.text("[aria-labelledby='h-trouble']")

    def moves() -> bool:
        scene.execute(GROW)
        scene.execute(COUNT)
        return noc.text("[data-figure='packets_per_second']") not in ("–", "0.0")

    noc.until("packets are shown", moves)
    # There is no mean of a minute yet.
    assert noc.text("[data-figure='bytes_out_per_second']") == "–"
    noc.until(
        "the chart is drawn", lambda: "most" in noc.text("[aria-labelledby='h-packets'] [data-chart-words]")
    )
    # In each size the legend says it, too.
    for width, height in SIZES:
        noc.size(width, height)
        noc.until("the legends are seen", lambda: noc.script(LEGENDS) == [])
    noc.size(1280, 900)
    if os.environ.get("RADMETER_LONG"):
        noc.until(
            "octets are shown when a minute was read",
            lambda: moves() and noc.text("[data-figure='bytes_out_per_second']") not in ("–", "0.0 bit/s"),
            180,
        )
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


def test_all_pages_are_as_kept_and_clean_in_both_themes(noc: Browser) -> None:
    assert _faults(noc, PAGES) == []


def test_the_pages_of_a_host_are_as_kept_and_clean(chromium: Browser, keys: Mapping[str, str]) -> None:
    assert _faults(chromium, ["/login"]) == []
    chromium.log_in(keys["tenant:Hotel Adler"])
    assert _faults(chromium, ["/site", "/site/routers/1"]) == []


def _faults(browser: Browser, paths: Iterable[str]) -> list[str]:
    """Return what is wrong with pages: in each size, for who cannot see, and to the policy for contents."""
    faults = []
    kept = Kept(LAYOUT)
    for path in paths:
        browser.open(path)
        for width, height in SIZES:
            browser.size(width, height)
            browser.until(
                "the fonts are there", lambda: browser.script("return document.fonts.status === 'loaded'")
            )
            if browser.is_wider_than_its_window():
                faults.append(f"{path} at {width}: wider than its window")
            faults += kept.faults(f"{path} {width}", browser)
            faults += [f"{path} {width}: {each}" for each in browser.script(CHARTS_OF_DAYS)]
        browser.size(1280, 900)
        for theme in ("dark", "light"):
            browser.theme(theme)
            faults += [f"{path} {theme}: {each}" for each in browser.accessibility_faults()]
        faults += [f"{path}: {each}" for each in [*browser.script(WRITTEN), *_still(browser)]]
        faults += [f"{path}: {each}" for each in browser.console_faults() if "404" not in each]
    return faults


def _still(browser: Browser) -> list[str]:
    """Return what stands still on a page that says it is live. A page that does not move says as of when it is."""
    if not browser.all(".live"):
        return (
            []
            if not browser.all("#search") or "as of" in browser.text("header")
            else ["it does not say as of when"]
        )
    browser.until("scripts run", lambda: browser.text(".live") == "live")
    browser.script(MARK)
    try:
        browser.until("all is read again", lambda: browser.script(MARKED) == [], seconds=15)
    except TimeoutException:
        return [f"stands still: {each}" for each in browser.script(MARKED)]
    return []


def test_pictures_of_every_size(noc: Browser, scene: Connection, tmp_path: Path) -> None:
    scene.execute(USUAL_NAMES.encode())
    if PICTURES is not None:
        _count_for_minutes(noc, scene)
    for path, name in (("/", "noc"), ("/routers/6", "router")):
        for width, height in SIZES:
            noc.size(width, height)
            noc.theme("dark")
            # The jobs looked, and it was heard, just now.
            scene.execute(JUST_NOW.encode())
            noc.open(path)
            noc.until("live", lambda: noc.text(".live") == "live")
            scene.execute(GROW)
            scene.execute(COUNT)
            if path == "/":
                noc.until("all figures", lambda: noc.text("[data-figure=open_sessions]") == "121")
            assert not noc.is_wider_than_its_window(), (path, width)
            # On a wall text is read from afar; on a phone a finger finds the links.
            size = noc.script("return parseFloat(getComputedStyle(document.documentElement).fontSize)")
            assert size == (27 if width == 3840 else 15), (path, width)
            _keep_picture(noc, f"{name}-{width}.png", tmp_path)


def _count_for_minutes(noc: Browser, scene: Connection) -> None:
    """Count packets until the charts of a picture have something to show."""
    until = time.monotonic() + PICTURED_SECONDS

    def over() -> bool:
        scene.execute(WAVES.encode())
        return time.monotonic() > until

    noc.until("minutes are counted", over, PICTURED_SECONDS + 30)


def _keep_picture(browser: Browser, name: str, place: Path) -> None:
    """Take a picture of the window. The documents have those whose files are there."""
    picture = place / name
    browser.picture(picture, whole=False)
    assert picture.stat().st_size > 10_000
    if PICTURES is not None and (PICTURES / name).exists():
        shutil.copy(picture, PICTURES / name)


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


def test_a_router_has_one_name_on_all_pages(
    noc: Browser, pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    scene.execute(
        "INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)"
        " VALUES ('silent', 'router_silent', 'critical', 60, now(), now())"
    )
    store.mute(scene, datetime.now(UTC) + timedelta(hours=1), router_id=60)
    noc.open("/alerts")
    for part in ("h-alerts", "h-mutes"):
        assert "router ap-new (discovered)" in noc.text(f"[aria-labelledby='{part}']"), part
    shown = {}
    for path in ("/routers?state=discovered", "/search?q=ap-new"):
        noc.open(path)
        # Its state is beside it.
        assert noc.text("main a[href='/routers/60']") == "ap-new", path
        assert "discovered" in noc.text(".badge.discovered"), path
    for path in ("/sessions", "/routers/60"):
        noc.open(path)
        shown[path] = noc.text("h1" if path == "/routers/60" else "main a[href='/routers/60']")
    # As in the tables of the command line.
    assert set(shown.values()) == {"ap-new (discovered)"}, shown
    names = set()
    for path, name in (("/routers?status=discovered", "name"), ("/sessions?router=60", "router")):
        (item,) = pages.get(path, keys["reader"]).json()["items"]
        names.add(item[name])
    assert names == {"02:00:00:00:00:60"}


def test_the_keys_are_shown_by_a_key_and_by_the_mouse(noc: Browser) -> None:
    is_open = "return document.querySelector('#keys').open"
    noc.until("scripts run", lambda: noc.text(".live") == "live")
    letters = noc.script(
        "return [...document.querySelectorAll('nav [data-key]')].map((it) => it.dataset.key)"
    )
    noc.keys("?")
    assert noc.script(is_open)
    assert noc.accessibility_faults() == []
    assert set(letters) <= {each.text for each in noc.all("#keys kbd")}
    noc.keys(Keys.ESCAPE)
    assert not noc.script(is_open)
    noc.press("[data-keys]")
    assert noc.script(is_open)
    noc.press("#keys button")
    assert not noc.script(is_open)
    # A dialog gives the focus back.
    assert "Help: keys" in noc.focus()
    noc.keys(Keys.ENTER)
    assert noc.script(is_open)


def test_keys_reach_the_search_and_the_pages(noc: Browser) -> None:
    noc.until("scripts run", lambda: noc.text(".live") == "live")
    body = noc.one("body")
    body.send_keys("/")
    assert noc.script("return document.activeElement.id") == "search"
    noc.one("#search").send_keys("02-AA-00-00-00-05\n")
    noc.until("the device is found", lambda: "user5" in noc.text("[aria-labelledby='h-open']"))
    noc.one("body").send_keys("gr")
    noc.until("the page of routers", lambda: noc.driver.current_url.endswith("/routers"))
    noc.one("main input[name=q]").send_keys("ap-04")
    noc.until("only those are left", lambda: len(noc.all("#rows tbody tr")) == 1)


def test_the_zone_and_the_theme_are_kept(noc: Browser) -> None:
    for name, value in (("zone", "Asia/Tokyo"), ("theme", "light")):
        noc.press(".menu summary")
        noc.script("document.getElementById(arguments[0]).value = arguments[1]", name, value)
        noc.press(".menu form[action='/preferences'] button")
        noc.until(
            "it is set", lambda name=name: not noc.script("return document.querySelector('.menu').open")
        )
    assert noc.script("return document.documentElement.dataset.theme") == "light"
    assert "Times are in Asia/Tokyo" in noc.text("footer")
    noc.open("/sessions")
    times = noc.script(
        "return [...document.querySelectorAll('main time')].map((it) => [it.title, it.textContent.trim()])"
    )
    assert times
    assert [each for each in times if "+0900" not in each[0] or not each[1].endswith(" JST")] == []


def test_the_keyboard_alone_is_enough(chromium: Browser, keys: Mapping[str, str], scene: Connection) -> None:
    chromium.size(1280, 900)
    chromium.open("/login")
    chromium.keys(keys["noc"], Keys.ENTER)
    chromium.until("logged in", lambda: chromium.text(".live") == "live")
    chromium.keys(Keys.TAB)
    assert chromium.focus() == "To the content"
    assert chromium.script("return document.activeElement.getBoundingClientRect().left") >= 0
    chromium.keys(Keys.ENTER)
    assert chromium.script("return document.activeElement.id || location.hash") in ("content", "#content")
    chromium.keys("ga")
    chromium.until("the alerts", lambda: chromium.driver.current_url.endswith("/alerts"))
    chromium.tab_to("Acknowledge site Site B")
    chromium.keys(Keys.ENTER)
    chromium.until("said", lambda: "acknowledged" in chromium.text(".said"))
    acked = scene.execute("SELECT acked_by FROM radmeter.alerts WHERE kind = 'site_down'").fetchone()
    assert acked == ("key noc",)
    chromium.tab_to("Times are in")
    chromium.keys(Keys.ENTER)
    chromium.tab_to("Time zone of the page")
    chromium.keys("Asia/Tok")
    chromium.tab_to("Set")
    chromium.keys(Keys.ENTER)
    chromium.until("the zone", lambda: "Times are in Asia/Tokyo" in chromium.text("footer"))
    chromium.tab_to("Times are in")
    chromium.keys(Keys.ENTER)
    assert chromium.script("return document.querySelector('.menu').open")
    chromium.keys(Keys.ESCAPE)
    assert not chromium.script("return document.querySelector('.menu').open")


def test_an_alert_is_acknowledged_and_muted(noc: Browser, scene: Connection) -> None:
    noc.open("/alerts")
    noc.press("form[action='/alerts/1/acknowledge'] button")
    noc.until("said", lambda: "acknowledged" in noc.text(".said"))
    noc.press("form[action='/alerts/2/mute'] button")
    noc.until("said", lambda: "muted" in noc.text(".said"))
    assert scene.execute("SELECT acked_by FROM radmeter.alerts WHERE id = 1").fetchone() == ("key noc",)
    assert scene.execute("SELECT rule, router_id FROM radmeter.alert_mutes").fetchall() == [("silent", 12)]
    noc.press("form[action='/alerts/2/acknowledge'] button")
    noc.until("said", lambda: "acknowledged" in noc.text(".said"))
    alert = noc.script(
        "return [...document.querySelectorAll('.alert')].map((it) => it.textContent).join('|')"
    )
    (both,) = (each for each in alert.split("|") if HOSTILE in each and "router" in each)
    assert "acknowledged by key noc" in both
    assert "muted until" in both
    assert HOSTILE in noc.text("[aria-labelledby='h-mutes'] tbody")
    assert "key noc" in noc.text("[aria-labelledby='h-mutes'] tbody")
    noc.press("form[action='/mutes/1/unmute'] button")
    noc.until("said", lambda: "ended" in noc.text(".said"))
    assert "Nothing is muted" in noc.text("[aria-labelledby='h-mutes']")


def test_alerts_for_information_are_no_trouble(noc: Browser, scene: Connection) -> None:
    classes = "return document.querySelector('[data-figure=alerts]').closest('.tile').className"
    noc.until("all of them", lambda: noc.text("[data-figure='alerts']") == "7")
    assert noc.script(classes) == "tile bad"
    assert noc.driver.title.startswith("(12) ")
    scene.execute("UPDATE radmeter.alerts SET resolved_at = now() WHERE severity = 'critical'")
    noc.until("the warnings", lambda: noc.text("[data-figure='alerts']") == "5")
    noc.until("yellow", lambda: noc.script(classes) == "tile warn")
    scene.execute("UPDATE radmeter.alerts SET resolved_at = now() WHERE severity = 'warning'")
    noc.until("information", lambda: noc.text("[data-figure='alerts']") == "2")
    noc.until("no colour", lambda: noc.script(classes) == "tile")
    assert noc.driver.title.startswith("(7) ")


def test_a_discovered_router_is_claimed_and_a_session_disconnected(noc: Browser, scene: Connection) -> None:
    noc.open("/routers/60")
    noc.press("form[action='/routers/60/claim'] button")
    noc.until("said", lambda: "claimed" in noc.text(".said"))
    # It has an open session, so it is not idle.
    assert "not watched yet" in noc.text("[aria-labelledby='h-now']")
    assert scene.execute("SELECT status, name FROM routers WHERE id = 60").fetchone() == ("active", "ap-new")
    noc.open("/user?name=user5")
    noc.press("form[action$='/disconnect'] button")
    assert "no secret for requests" in noc.driver.switch_to.alert.text
    noc.driver.switch_to.alert.accept()
    noc.until("said", lambda: "in the queue, and waits" in noc.text(".said"))
    assert scene.execute("SELECT username, requested_by FROM radmeter.disconnect_queue").fetchall() == [
        ("user5", "key noc")
    ]


def test_a_page_says_that_it_is_not_live(noc: Browser, pages: HttpServer) -> None:
    noc.until("live", lambda: noc.text(".live") == "live")
    pages.stop()
    noc.until(
        "it says so", lambda: noc.script("return document.querySelector('.live').dataset.state") == "off"
    )
    noc.script("document.dispatchEvent(new CustomEvent('radmeter:resync'))")
    noc.until("its parts say so", lambda: noc.all("#p-trouble.old") != [])


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
    assert " GB" in chromium.text(".tiles")
    for theme in ("dark", "light"):
        chromium.theme(theme)
        assert chromium.accessibility_faults() == []
    chromium.size(360, 800)
    assert not chromium.is_wider_than_its_window()
    chromium.size(1280, 900)
    _keep_picture(chromium, "site-1280.png", tmp_path)
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


def test_the_page_stays_where_it_is_when_it_is_no_longer_live(noc: Browser) -> None:
    where = "return Math.round(document.querySelector('main').getBoundingClientRect().top)"
    noc.open("/alerts")
    noc.until("live", lambda: noc.text(".live") == "live")
    for width in (1280, 1440, 1920):
        noc.size(width, 900)
        before = noc.script(where)
        for said in (
            "connecting",
            "not live for 3600 s",
            "not live: connecting again",
            "not live: log in again",
        ):
            noc.script(
                "const it = document.querySelector('.live'); it.dataset.state = 'off'; it.textContent = arguments[0];",
                said,
            )
            assert noc.script(where) == before, (width, said)
            assert not noc.is_wider_than_its_window(), (width, said)
        noc.script("document.querySelector('.live').textContent = 'live'")
