"""The site of the documents: it builds without a warning, shows what GitHub shows, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from scripts.documents.site import PAGES, deeper, page_of

ROOT = Path(__file__).parents[2]
PARTS = {"ul", "ol", "li", "pre", "code", "table", "th", "td", "h2", "h3", "h4", "img", "em", "strong"}
DOCUMENTS = sorted(
    [*PAGES, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))],
)


def build(site: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Build as scripts/docs does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site, *options],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    done = build(directory)
    assert done.returncode == 0, done.stderr
    return directory


class Parts(HTMLParser):
    """The parts of a page, and how deep each entry of a list is."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: Counter[str] = Counter()
        self.lists: list[int] = []
        self.code: list[str] = []
        self._lists = self._pre = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: Sequence[tuple[str, str | None]]) -> None:
        self._lists += tag in ("ul", "ol")
        self._pre += tag == "pre"
        if tag == "pre":
            self.code.append("")
        if tag == "li":
            self.lists.append(self._lists)
        # How the code of a fence is coloured is the renderer's.
        if tag in PARTS and not (tag == "code" and self._pre):
            self.parts[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self._lists -= tag in ("ul", "ol")
        self._pre -= tag == "pre"

    def handle_data(self, data: str) -> None:
        if self._pre:
            self.code[-1] += data


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_page_has_the_lists_tables_and_code_that_github_shows(site: Path, document: str) -> None:
    html = (site / page_of(document)).with_suffix(".html").read_text()
    shown = Parts(html[html.index("<article") : html.index("</article>")])
    meant = Parts(MarkdownIt().enable("table").render((ROOT / document).read_text()))
    assert shown.parts == meant.parts
    assert shown.lists == meant.lists
    assert [code.strip("\n") for code in shown.code] == [code.strip("\n") for code in meant.code]


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(DOCUMENTS)
    for page in pages:
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?([^\s\">]+)", page.read_text())
        loaded += re.findall(r"<link[^>]* href=\"?([^\s\">]+)", page.read_text())
        assert [each for each in loaded if "//" in each] == [], page
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert [found for text in styles for found in re.findall(r"url\(\"?(?:https?:)?//[^)]*", text)] == []


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    """Pages, headings, pictures and files of the checkout that are not there. Each is named."""
    documents = dict.fromkeys(PAGES, "# Other\n")
    documents["docs/here.md"] = (
        "# Here\n\n[a](none.md) [b](../README.md#none) ![c](none.png) [d](../none.txt) [e](../README.md#other)\n"
    )
    for document, text in documents.items():
        path = tmp_path / document
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    whole = (ROOT / "mkdocs.yml").read_text()
    config = tmp_path / "mkdocs.yml"
    config.write_text(whole.partition("\nnav:")[0].replace("scripts/documents", f"{ROOT}/scripts/documents"))
    done = build(tmp_path / "site", "--config-file", config)
    assert done.returncode == 1
    dead = re.findall(r"'here\.md' contains a link '([^']+)'", done.stderr)
    assert sorted(dead) == ["files/none.txt", "index.md#none", "none.md", "none.png"]


def test_lists_are_indented_by_four_blanks_a_level() -> None:
    text = "Prose\n- a\n  b\n  1. c\n\n     d\n\n     ```\n     - e\n     ```\n- f\nlazy\n- g\n\nEnd\n\n    - code\n"
    assert list(deeper(text.splitlines())) == [
        *("Prose", "", "- a", "    b", "    1. c", ""),
        *("        d", "", "        ```", "        - e", "        ```", ""),
        *("- f", "    lazy", "- g", "", "End", "", "    - code"),
    ]
