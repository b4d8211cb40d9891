"""Tables on a phone, a desk and a wall: with the longest values they fit, and no value is on two lines."""

from collections.abc import Iterable, Mapping

from support.browser import Browser
from support.noc_pages import PAGES, SIZES
from support.noc_scene import LONGEST
from support.servers import Connection

# A page of each row that may be there: sessions and alerts that have ended, the page of a user with a long name.
LONG_NAME = "user1" + "W" * 248
MORE = (
    f"/user?name={LONG_NAME}",
    "/sessions?router=%231&open=",
    "/alerts?which=all",
    "/search?q=02-AA-DD-CC-BB-05",
)
# What nobody reads on two lines: MACs and addresses, numbers with their units, times with their zones.
LOOK = r"""
const faults = [];
// On a phone the head of a table is for those who cannot see it.
const open = (it) => !it.closest("details:not([open])") && it.getBoundingClientRect().width > 2
  && !(it.closest("thead") && it.closest("thead").getBoundingClientRect().width < 2) && !it.closest(".hidden");
const hex = "[0-9A-Fa-f]{1,4}";
const WHOLE = new RegExp([
  "(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", `(?:${hex}:){2,7}:?(?:${hex}:)*${hex}(?:/[0-9]+)?`,
  "[0-9]+(?:[.][0-9]+){3}", "[0-9]{4}-[0-9]{2}-[0-9]{2}",
  "[0-9][0-9,.]*(?: ?(?:[kMGTPE]i?)?(?:B|bit/s)| ?%| /s| of [0-9][0-9,]*)?",
].join("|"), "g");
function lines(range) {
  const boxes = [...range.getClientRects()].filter((each) => each.width > 0), found = [];
  for (const box of boxes) {
    if (!found.some((each) => box.top < each.bottom - 1 && each.top < box.bottom - 1)) found.push(box);
  }
  return found.length;
}
function texts(cell) {
  const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) found.push(walker.currentNode);
  return found;
}
for (const table of document.querySelectorAll("main table:not(.u-legend)")) {
  if (!open(table)) continue;
  const name = (table.caption || table).textContent.trim(), box = table.parentElement.getBoundingClientRect();
  const reach = Math.max(...[table, ...table.querySelectorAll("th, td, button")].filter(open)
    .map((it) => it.getBoundingClientRect().right));
  if (reach > box.right + 1) faults.push(`${name}: wider than its box by ${Math.round(reach - box.right)} px`);
  for (const cell of table.querySelectorAll("th, td")) {
    if (!open(cell)) continue;
    const range = document.createRange();
    for (const node of texts(cell)) {
      // A name may be of any words, and long ones have to break.
      if (node.textContent.trim().length > 60 || node.parentElement.closest("a")) continue;
      for (const match of node.textContent.matchAll(WHOLE)) {
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        if (lines(range) > 1) faults.push(`${name}: ${match[0]} is on ${lines(range)} lines`);
      }
    }
    for (const it of cell.querySelectorAll("time, button, .badge")) {
      range.selectNodeContents(it);
      if (lines(range) > 1) faults.push(`${name}: ${it.textContent} is on ${lines(range)} lines`);
    }
    // A word that has a letter a line is no word. What has no room for its own is cut off.
    for (const node of texts(cell)) {
      range.selectNodeContents(node);
      if (node.parentElement.closest(".hidden")) continue;
      const words = node.textContent.trim();
      if (words.length > 12 || words.includes(" ") || lines(range) < 2) continue;
      faults.push(`${name}: ${words} is on ${lines(range)} lines`);
    }
  }
}
return [...new Set(faults)].slice(0, 8);"""


def faults(browser: Browser, paths: Iterable[str]) -> list[str]:
    found = []
    for path in paths:
        browser.open(path)
        for each in browser.all("main details:not([open]) > summary"):
            each.click()
        tables = browser.script("return document.querySelectorAll('main table:not(.u-legend)').length")
        for width, height in SIZES:
            browser.size(width, height)
            found += [f"{path[:40]} {width}: {each}" for each in browser.script(LOOK)]
            if browser.is_wider_than_its_window():
                found.append(f"{path[:40]} {width}: wider than its window")
        assert tables or not path.startswith(("/routers?", "/sessions", "/user", "/site")), path
    return found


def test_tables_of_the_longest_values_fit_and_break_none(
    noc: Browser, keys: Mapping[str, str], scene: Connection
) -> None:
    scene.execute(LONGEST.encode())
    assert faults(noc, (*PAGES, *MORE)) == []
    noc.driver.delete_all_cookies()
    noc.log_in(keys["tenant:Hotel Adler"])
    assert faults(noc, ("/site", "/site/routers/1")) == []


def test_tables_of_usual_values_fit_too(noc: Browser, keys: Mapping[str, str]) -> None:
    assert faults(noc, PAGES) == []
    noc.driver.delete_all_cookies()
    noc.log_in(keys["tenant:Hotel Adler"])
    assert faults(noc, ("/site", "/site/routers/1")) == []
