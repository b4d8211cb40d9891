"""Reads FreeRADIUS's configuration as the server does, as far as a check needs it: sections, items, includes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Of an $INCLUDEd directory, FreeRADIUS reads only files whose names have letters, digits, _ and . alone.
_NAME = re.compile(r"[A-Za-z0-9_.]+")
_TOKEN = re.compile(
    r"""\s*(?:(?P<comment>\#.*)|(?P<brace>[{}])|(?P<text>(?:"(?:\\.|[^"])*"|'[^']*'|\$\{[^}]*\}
                        |\$ENV\{[^}]*\}|%\{(?:[^{}]|\{[^}]*\})*\}|[^{}\#"'])+))""",
    re.VERBOSE,
)
_REFERENCE = re.compile(r"\$(ENV)?\{([^}]*)\}")
DEEPEST = 20


@dataclass
class Section:
    """A section: ``name argument {``. `items` are its lines that do not open a section."""

    name: str
    argument: str
    path: Path
    line: int
    items: list["Item"] = field(default_factory=list)
    sections: list["Section"] = field(default_factory=list)

    def all(self, name: str) -> Iterator["Section"]:
        """Yield the sections with this name, at any depth."""
        for section in self.sections:
            if section.name == name:
                yield section
            yield from section.all(name)

    def value(self, name: str) -> str | None:
        """Return the value of the last item ``name = value``, without quotes; None if there is none."""
        found = [item.value for item in self.items if item.name == name]
        return found[-1] if found else None

    def calls(self) -> list["Item"]:
        """Return the calls in a section of unlang, in order, with those in its inner sections."""
        inner = [item for section in self.sections for item in [section.called(), *section.calls()]]
        return sorted([*self.items, *inner], key=lambda item: (str(item.path), item.line))

    def called(self) -> "Item":
        """Return the section as a call: ``radmeter { fail = 1 }``."""
        return Item(self.name, "", self.path, self.line)


@dataclass
class Item:
    """A line: ``name = value``, or only a name."""

    name: str
    value: str
    path: Path
    line: int


def read(raddb: Path) -> Section:
    """Read the configuration of a server.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    root = Section("", "", raddb / "radiusd.conf", 1)
    _read_into(root, raddb / "radiusd.conf", raddb, 0)
    return root


def expanded(text: str, root: Section, environment: Mapping[str, str]) -> str:
    """Return a value with ${..} and $ENV{..} replaced; unknown ones become empty."""

    def fill(match: re.Match[str]) -> str:
        if match[1]:
            return environment.get(match[2], "")
        return (root.value(match[2]) or "").strip()

    for _ in range(DEEPEST):
        filled = _REFERENCE.sub(fill, text)
        if filled == text:
            break
        text = filled
    return text


def _read_into(section: Section, path: Path, raddb: Path, depth: int) -> None:
    """Read a file into a section."""
    open_sections = [section]
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        position = 0
        while match := _TOKEN.match(line, position):
            position = match.end()
            brace, text = match["brace"], (match["text"] or "").strip()
            if match["comment"]:
                break
            if brace == "}":
                if len(open_sections) > 1:
                    open_sections.pop()
            elif brace == "{":
                pass  # the text before it has opened the section
            elif text.startswith("$INCLUDE") or text.startswith("$-INCLUDE"):
                _include(open_sections[-1], text, path, raddb, depth)
            elif text and line[position:].lstrip().startswith("{"):
                name, _, argument = text.partition(" ")
                opened = Section(name, argument.strip(), path, number)
                open_sections[-1].sections.append(opened)
                open_sections.append(opened)
            elif text:
                name, _, value = (part.strip() for part in text.partition("="))
                open_sections[-1].items.append(
                    Item(name.rstrip(":+ ").removeprefix("-"), value.strip("\"'"), path, number)
                )


def _include(section: Section, text: str, path: Path, raddb: Path, depth: int) -> None:
    target = text.partition(" ")[2].strip().strip("\"'")
    target = re.sub(r"\$\{(?:confdir|raddbdir|modconfdir|certdir)\}", str(raddb), target)
    if depth > DEEPEST or "${" in target:
        return
    # Relative to the including file. For radiusd.conf this is raddb.
    place = path.parent / target
    if place.is_dir():
        for each in sorted(place.iterdir()):
            if each.is_file() and _NAME.fullmatch(each.name):
                _read_into(section, each, raddb, depth + 1)
    elif place.exists() or not text.startswith("$-"):
        _read_into(section, place, raddb, depth + 1)
