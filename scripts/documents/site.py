"""Hooks of MkDocs, so that the same files are read on a forge and on the site.

The documents link to files of the checkout beside docs/ (README.md, deploy/..): these become pages and files of
the site. Lists are indented as CommonMark has them, by the width of the marker. Python-Markdown wants four blanks.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Documents beside docs/, and the pages that they become.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "developers/contributing.md",
    "SECURITY.md": "reporting.md",
    "radius/README.md": "operators/raddb.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
# The folder of the site with the other files that are linked to.
FILES = "files"

# Code is passed over: a fence, else what stands between backquotes.
CODE_OR_LINK = re.compile(r"^ *```.*?^ *```$|(`+)[^`\n].*?\1|\]\(([^)\s]+)\)", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"( *)([-*+]|\d+\.) +(?=\S)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the documents link to and docs/ does not have."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(root / source)))
    for document in list(files.documentation_pages()):
        source = source_of(document.src_uri)
        for link in links((root / source).read_text()):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link.partition("#")[0]))
            uri = page_of(target)
            if uri.startswith(f"{FILES}/") and (root / target).is_file() and uri not in files.src_uris:
                files.append(File.generated(config, uri, abs_src_path=str(root / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page with the links of the site, and with lists that Python-Markdown understands."""
    uri = page.file.src_uri
    source = source_of(uri)

    def of_the_site(found: re.Match[str]) -> str:
        link = found[2]
        if link is None or is_outside(link) or link.startswith("#"):
            return found[0]
        path, mark, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        return f"]({posixpath.relpath(page_of(target), posixpath.dirname(uri) or '.')}{mark}{anchor})"

    return "\n".join(deeper(CODE_OR_LINK.sub(of_the_site, markdown).splitlines()))


def is_outside(link: str) -> bool:
    return "://" in link or link.startswith("mailto:")


def links(markdown: str) -> Iterator[str]:
    """Yield the links of a document to files."""
    for found in CODE_OR_LINK.finditer(markdown):
        if found[2] and not is_outside(found[2]) and not found[2].startswith("#"):
            yield found[2]


def source_of(uri: str) -> str:
    """Return the file of a page, from the root of the checkout."""
    return SOURCES.get(uri, f"docs/{uri}")


def page_of(path: str) -> str:
    """Return where a file of the checkout is in the site."""
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"{FILES}/{path}")


def deeper(lines: list[str]) -> Iterator[str]:
    """Yield the lines with each level of a list indented by four blanks."""
    columns: list[int] = []  # where the text of each open entry begins
    fence = entries = False  # entries: the lines since the last empty one begin with an entry
    before = ""
    for line in lines:
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        if not text or (fence and indent < (columns or [0])[-1]):
            yield line
            before = before if fence else line
            continue
        if not fence:
            # A line of prose right below an entry goes on with it, however it is indented.
            lazy = bool(before) and not MARKER.match(line)
            while columns and indent < columns[-1] and not lazy:
                columns.pop()
        depth = len(columns)
        marker = None if fence or text.startswith("```") else MARKER.match(line)
        if marker and indent - (columns or [0])[-1] < 4:
            if before and not entries:
                yield ""  # the entry begins right below a paragraph or a fence
            entries = True
            columns.append(marker.end())
        elif not before:
            entries = False
        inside = min(indent, columns[depth - 1]) if depth else 0
        yield " " * (4 * depth + indent - inside) + text
        fence ^= text.startswith("```")
        before = line
