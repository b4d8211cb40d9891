"""A statement as PDF/A-3, by typst: the same bytes each time, with the lines attached as CSV.

Names come in as JSON, never as a part of the template: nothing in them can run. PDF/A refuses a character that no font
has, and so does this: a font is missing on this machine, and the message names its package.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from functools import cache, partial
from importlib.resources import files
from typing import Any, Final, NamedTuple

import typst

from radmeter.billing.statements.fonts import is_letter, package_of, script
from radmeter.billing.statements.layout import Page
from radmeter.errors import RadmeterError

STANDARD: Final = "a-3b"
PREFERRED = ("DejaVu Sans", "Noto Sans")
# typst brings it: Latin, Greek and Cyrillic.
BUILT_IN = "Libertinus Serif"
# typst looks for packages of others there, and finds none. Nothing is fetched.
NOWHERE = "/nonexistent"
NOT_SHOWN = re.compile(r'the text `"(.+?)"` could not be displayed', re.DOTALL)
ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")
# A word that is longer may be broken, since a table is not wider than its page.
LONGEST_WORD = 24
BROKEN_EVERY = 12
ZERO_WIDTH_SPACE = "\u200b"
# typst keeps what it computed for ten more compilations: 100 MB for a thousand routers.
KEPT_FOR = 11
LARGE_ROWS = 200
# Each round finds a script or a symbol that no font has.
MOST_ROUNDS = 500


class MissingFont(RadmeterError):
    """No font on this machine has the letters of a name."""


class Pdf(NamedTuple):
    """A file, and the symbols in it that are written out because no font has them."""

    content: bytes
    written_out: Sequence[str]


def as_pdf(page: Page, lines: str) -> Pdf:
    """Return the file. `lines` is the CSV that is attached.

    Raises
    ------
    MissingFont
        The letters of a name are in no font of this machine.
    """
    data = _mapped(page.as_data(), _breakable)
    scripts: set[str] = set()
    symbols: list[str] = []
    for _ in range(MOST_ROUNDS):
        try:
            content = _compiled(data, lines, page)
        except typst.TypstError as error:
            char = _not_shown(error)
            if is_letter(char):
                lacking = script(char)
                scripts.add(lacking)
                # Only to find what else is missing: this file is not kept.
                data = _mapped(data, partial(_without, lacking=lacking))
            else:
                symbols.append(char)
                data = _mapped(data, partial(_written_out, symbol=char))
            continue
        if scripts:
            packages = sorted({package_of(each) for each in scripts})
            listed = ", ".join(sorted(each.capitalize() if each != "CJK" else each for each in scripts))
            raise MissingFont(
                f"no font on this machine has the letters of {page.title!r} ({listed}): "
                f"`apt-get install {' '.join(packages)}`, or write HTML"
            )
        if sum(len(table.rows) for part in page.parts for table in part.tables) > LARGE_ROWS:
            _forget()
        return Pdf(content, symbols)
    raise MissingFont(f"too many characters of {page.title!r} are in no font on this machine: write HTML")


def _compiled(data: dict[str, Any], lines: str, page: Page) -> bytes:
    made = typst.compile(
        _template(),  # type: ignore[type-var]  # its stubs do not know that it takes bytes
        sys_inputs={
            "page": json.dumps(data),
            "csv": lines,
            "fonts": json.dumps(_families()),
        },
        pdf_standards=[STANDARD],
        package_path=NOWHERE,
        package_cache_path=NOWHERE,
        root=str(files("radmeter.billing.statements")),
        timestamp=int(datetime.combine(page.dated, time(), UTC).timestamp()),
    )
    assert isinstance(made, bytes)
    return made


def _forget() -> None:
    """Let typst drop what it keeps of a large file: many of them would take a gigabyte."""
    for _ in range(KEPT_FOR):
        typst.compile(b"", package_path=NOWHERE, package_cache_path=NOWHERE)


@cache
def _template() -> bytes:
    return (files("radmeter.billing.statements") / "statement.typ").read_bytes()


@cache
def _families() -> list[str]:
    """Return the fonts in the order in which a character is looked for: the same on each run."""
    families = set(typst.Fonts(include_system_fonts=True).families())
    return [
        *(each for each in PREFERRED if each in families),
        *sorted(each for each in families if each.startswith("Noto Sans ") and "Mono" not in each),
        BUILT_IN,
    ]


def _not_shown(error: typst.TypstError) -> str:
    """Return the first character of what no font has. Any other error of typst is a fault of ours."""
    found = NOT_SHOWN.search(str(error))
    if found is None:
        raise error
    return ESCAPE.sub(lambda match: chr(int(match[1], 16)), found[1])[0]


def _written_out(text: str, symbol: str) -> str:
    return text.replace(symbol, f"U+{ord(symbol):04X}")


def _without(text: str, lacking: str) -> str:
    return "".join("?" if is_letter(char) and script(char) == lacking else char for char in text)


def _breakable(text: str) -> str:
    """Return text whose long words may be broken."""
    return re.sub(
        rf"\S{{{LONGEST_WORD + 1},}}",
        lambda match: ZERO_WIDTH_SPACE.join(
            match[0][begin : begin + BROKEN_EVERY] for begin in range(0, len(match[0]), BROKEN_EVERY)
        ),
        text,
    )


def _mapped(data: Any, change: Callable[[str], str]) -> Any:
    """Return data with each text changed, but not what is no text of a name: the charts."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {
            name: value if name in ("chart", "align", "dated", "language") else _mapped(value, change)
            for name, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [_mapped(each, change) for each in data]
    return data
