"""The page of alerts: what somebody noted of an alert, its number, and the way to what it is about."""

from support.browser import Browser
from support.noc_pages import SIZES
from support.servers import Connection

NOTE = "power cut, ticket 812 <b>"

# What is beyond the panel that it is in.
BEYOND = """
return [...document.querySelectorAll(".alert :is(button, input, select, a)")].filter((it) =>
  it.getBoundingClientRect().right > it.closest(".alert").getBoundingClientRect().right + 1).map((it) => it.id);"""


def test_an_alert_has_its_number_its_note_and_its_routers(noc: Browser, scene: Connection) -> None:
    rows = scene.execute("SELECT id, kind FROM radmeter.alerts WHERE kind = 'site_down' OR router_id = 12")
    number = {str(kind): int(each) for each, kind in rows.fetchall()}
    site = number["site_down"]
    noc.open("/alerts")
    assert f"#{site} " in noc.text(f".alert:has(#mute-{site})")
    noc.one(f"#note-{site}").send_keys(NOTE + "\n")
    noc.until("it is acknowledged", lambda: not noc.all(f"#note-{site}"))
    # All who look see it, on the first page, too: the server keeps what it has read for a moment.
    said = f"acknowledged by key noc: {NOTE}"
    for path in ("/alerts", "/"):
        noc.open(path)
        noc.until(f"{path} has the note", lambda: said in noc.text(f".alert:has(#mute-{site})"))
    found = scene.execute("SELECT ack_note FROM radmeter.alerts WHERE id = %s", (site,)).fetchone()
    assert found == (NOTE,)
    noc.press(f"#routers-of-{site}")
    noc.until("its routers", lambda: "site=Site" in noc.driver.current_url)
    assert len(noc.all("#rows tbody tr")) == 5
    noc.open("/alerts")
    noc.press(f"#router-of-{number['router_silent']}")
    noc.until("its router", lambda: noc.driver.current_url.endswith("/routers/12"))


def test_the_buttons_of_an_alert_are_within_its_panel(noc: Browser) -> None:
    noc.open("/alerts")
    for width, height in SIZES:
        noc.size(width, height)
        assert noc.script(BEYOND) == [], width
