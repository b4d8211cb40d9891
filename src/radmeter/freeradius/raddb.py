"""Reads FreeRADIUS's configuration as the server does, as far as a check needs it: sections, items, includes."""

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Of an $INCLUDEd directory, FreeRADIUS reads only files whose names have letters, digits, -, _ and . alone.
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
TOKEN = re.compile(
    r"""\s*(?:(?P<comment>\#.*)|(?P<brace>[{}])|(?P<text>(?:"(?:\\.|[^"])*"|'[^']*'|\$\{[^}]*\}
                        |\$ENV\{[^}]*\}|%\{(?:[^{}]|\{[^}]*\})*\}|[^{}\#"'])+))""",
    re.VERBOSE,
)
_REFERENCE = re.compile(r"\$(ENV)?\{([^}]*)\}")
# The name of an item that is an include which was not read.
UNREAD = "$INCLUDE"
_VARIABLE = re.compile(r"\$ENV\{([^}]*)\}")
_INCLUDE = re.compile(r"\$-?INCLUDE\b", re.IGNORECASE)
DEEPEST = 20
# More than any server has. A file that includes itself twice would be read a million times.
MOST_FILES = 2000
LARGEST_FILE = 1 << 20


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

    def everything(self) -> Iterator["Item"]:
        """Yield the items of the section and of all sections in it."""
        yield from self.items
        for section in self.sections:
            yield from section.everything()

    def value(self, name: str) -> str | None:
        """Return the value of the first item ``name = value``, without quotes; None if there is none.

        FreeRADIUS leaves out the others.
        """
        return next((item.value for item in self.items if item.name == name), None)

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


def read(raddb: Path, environment: Mapping[str, str] | None = None) -> Section:
    """Read the configuration of a server.

    Parameters
    ----------
    environment
        Of the server: what it includes may depend on that. None: such an include is not read.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    root = Section("", "", raddb / "radiusd.conf", 1)
    _read_into(root, raddb / "radiusd.conf", _Place(raddb, environment), 0, iter(range(MOST_FILES)))
    return root


def variables(root: Section, environment: Mapping[str, str]) -> dict[str, str]:
    """Return a server's environment: the one that it is started with, changed as its section ENV says."""
    found = dict(environment)
    for section in root.sections:
        if section.name == "ENV":
            for item in section.items:
                if item.value:
                    found[item.name] = item.value
                else:
                    found.pop(item.name, None)
    return found


def expanded(text: str, root: Section, environment: Mapping[str, str]) -> str:
    """Return a value with ${..} and $ENV{..} replaced; unknown ones become empty."""
    environment = variables(root, environment)

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


def text_of(path: Path) -> str:
    """Return the text of a configuration file. Raises OSError, also if it is larger than any, or no file."""
    # A pipe, which this would wait for, is opened at once.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise OSError(errno.EFBIG, f"larger than {LARGEST_FILE} bytes", str(path))
    return data.decode("utf-8", "replace")


@dataclass(frozen=True)
class _Place:
    """What includes refer to."""

    raddb: Path
    environment: Mapping[str, str] | None

    def target(self, text: str) -> str:
        """Return what a line includes. A variable that is not known stays."""
        found = _INCLUDE.sub("", text).strip().strip("\"'")
        found = re.sub(r"\$\{(?:confdir|raddbdir|modconfdir|certdir)\}", str(self.raddb), found)
        known = self.environment
        return found if known is None else _VARIABLE.sub(lambda variable: known.get(variable[1], ""), found)


def _read_into(section: Section, path: Path, of: _Place, depth: int, left: Iterator[int]) -> None:
    """Read a file into a section, if there are files left to read."""
    open_sections = [section]
    if next(left, None) is None:
        raise OSError(errno.ELOOP, f"more than {MOST_FILES} files are included", str(path))
    for number, line in enumerate(text_of(path).splitlines(), 1):
        position = 0
        while match := TOKEN.match(line, position):
            position = match.end()
            brace, text = match["brace"], (match["text"] or "").strip()
            if match["comment"]:
                break
            if brace == "}":
                if len(open_sections) > 1:
                    open_sections.pop()
            elif brace == "{":
                pass  # the text before it has opened the section
            elif _INCLUDE.match(text):
                if not _include(open_sections[-1], text, path, of, depth, left):
                    open_sections[-1].items.append(Item(UNREAD, text, path, number))
            elif text and line[position:].lstrip().startswith("{"):
                name, argument = [*text.split(None, 1), ""][:2]
                opened = Section(name, argument.strip(), path, number)
                open_sections[-1].sections.append(opened)
                open_sections.append(opened)
            elif text.startswith("$template"):
                open_sections[-1].items.append(
                    Item("$template", text.removeprefix("$template").strip(), path, number)
                )
            elif text:
                name, _, value = (part.strip() for part in text.partition("="))
                open_sections[-1].items.append(
                    Item(name.rstrip(":+ ").removeprefix("-"), value.strip("\"'"), path, number)
                )


def _include(section: Section, text: str, path: Path, of: _Place, depth: int, left: Iterator[int]) -> bool:
    """Read what a line includes. Return False if it names it by a variable that is not known."""
    target = of.target(text)
    if depth > DEEPEST or "$" in target:
        return False
    # Relative to the including file. For radiusd.conf this is raddb.
    place = path.parent / target
    if place.is_dir():
        for each in sorted(place.iterdir()):
            if each.is_file() and _NAME.fullmatch(each.name):
                _read_into(section, each, of, depth + 1, left)
    elif place.exists() or not text.startswith("$-"):
        _read_into(section, place, of, depth + 1, left)
    return True
