"""Chromium without a screen, and what tests ask of a page: faults of console and accessibility, and pictures."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SECONDS = 30
# Of a page, by Tab.
MOST_STOPS = 80
FOCUS = """
const it = document.activeElement;
const words = it.labels && it.labels.length ? it.labels[0].textContent : it.textContent;
return it.getAttribute("aria-label") || words.trim();
"""
IS_SEEN = """
const it = document.activeElement, box = it.getBoundingClientRect();
return it === document.body || (getComputedStyle(it).outlineStyle !== "none" && box.width > 2 && box.left >= 0);
"""


class Browser:
    """A browser with one window."""

    def __init__(self, driver: webdriver.Chrome, base: str) -> None:
        self.driver = driver
        self.base = base

    def size(self, width: int, height: int) -> None:
        """Give the page a size in CSS pixels, whatever a window may have at least."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def theme(self, name: str) -> None:
        """Set what the system prefers: dark or light."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, path: str) -> None:
        self.driver.get(self.base + path)

    def log_in(self, key: str) -> None:
        self.open("/login")
        self.one("input[name=key]").send_keys(key)
        self.one("button.main").click()
        self.until("logged in", lambda: "/login" not in self.driver.current_url)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def press(self, selector: str) -> None:
        """Click an element, also one that is replaced just before."""

        def clicked() -> bool:
            try:
                self.one(selector).click()
            except StaleElementReferenceException:
                return False
            return True

        self.until(f"{selector} is clicked", clicked)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return the text of an element, also one that is replaced meanwhile."""
        return str(
            self.script(
                "const it = document.querySelector(arguments[0]); return it ? it.textContent.trim() : ''",
                selector,
            )
        )

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def focus(self) -> str:
        """Return the name of what has the focus, as a screen reader says it."""
        return str(self.script(FOCUS))

    def tab_to(self, name: str) -> None:
        """Press Tab until something has the focus whose name has this text. It must be seen that it has."""
        for _ in range(MOST_STOPS):
            self.keys(Keys.TAB)
            assert self.script(IS_SEEN), f"nobody sees that this has the focus: {self.focus()}"
            if name in self.focus():
                return
        raise AssertionError(f"Tab does not reach {name}")

    def script(self, text: str, *values: Any) -> Any:
        return self.driver.execute_script(text, *values)

    def until(self, what: str, holds: Any, seconds: float = SECONDS) -> Any:
        return WebDriverWait(self.driver, seconds, poll_frequency=0.1).until(
            lambda _: holds(), f"{what}: not in {seconds} s"
        )

    def accessibility_faults(self) -> list[str]:
        """Return what axe finds, with the elements."""
        # Through the debugger, since the page's policy allows no scripts of others.
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
        answer = self.driver.execute_cdp_cmd(
            "Runtime.evaluate",
            {
                "expression": "axe.run(document, {resultTypes: ['violations']})"
                ".then(it => JSON.stringify(it.violations))",
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        found = json.loads(answer["result"]["value"])
        return [
            f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0].get('failureSummary', '')}"
            for each in found
        ]

    def console_faults(self) -> list[str]:
        """Return the errors and warnings of the console, among them what the policy for contents has refused."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has none
        return [each["message"] for each in log if each["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page."""
        import base64

        answer = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": whole, "format": "png"}
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    def is_wider_than_its_window(self) -> bool:
        return bool(
            self.script("return document.documentElement.scrollWidth > document.documentElement.clientWidth")
        )


@contextmanager
def browser(base: str) -> Iterator[Browser]:
    """Run Chromium for the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(prefix="radmeter-chromium-") as profile:
        for each in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(each)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            yield Browser(driver, base)
        finally:
            driver.quit()
