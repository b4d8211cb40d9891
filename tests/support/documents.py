"""The commands of the documents, so that tests run what a reader copies."""

import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from textwrap import dedent

from support.commands import radmeter

DOCS = Path(__file__).parents[2] / "docs"
# A line that a page leaves out stands as this.
LEFT_OUT = ".."
NUMBER = re.compile(r"\d+(?:[\d,.:-]*\d)?")


def block(document: str, name: str) -> str:
    """Return the code block of a document that follows the comment ``run: name``. It may be part of a list."""
    text = (DOCS / document).read_text()
    found = re.findall(
        rf"^ *<!-- run: {re.escape(name)} -->\n *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL
    )
    assert len(found) == 1, f"{document} has {len(found)} blocks named {name}"
    return dedent(str(found[0]))


def blocks(document: str, section: str) -> list[tuple[str, str, str | None]]:
    """Return the blocks of a document from a heading on: name, code, and what the fence right below it shows."""
    text = (DOCS / document).read_text().partition(f"\n{section}\n")[2]
    assert text, f"{document} has no {section}"
    fences = r"^<!-- run: ([^\n]+) -->\n```sh\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?"
    found = [match.groups() for match in re.finditer(fences, text, re.MULTILINE | re.DOTALL)]
    assert len(found) == text.count("<!-- run: "), f"{document} has a block that is not of the shell"
    return [(name, code, shown) for name, code, shown in found]


# What is another one at each run: times and days but those of January 2026, numbers and ports of packets.
_ANOTHER = re.compile(
    r"\b(?!2026-01)\d{4}-\d\d(?:-\d\d)?(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+Z)?)?)?\b"
    r"|(?<=Id )\d+|(?<=\.0\.[01]:)\d{5}\b|(?<=length )\d+"
)


def as_shown(shown: str, said: str) -> bool:
    """Say whether a command printed what a document shows.

    There `..` stands for lines that are left out, and four blanks for a tab.
    """
    lines = [re.escape(_ANOTHER.sub("N", line)) for line in shown.splitlines()]
    pattern = "".join(r"(?:.*\n)*?" if line == r"\.\." else f"{line}\n" for line in lines)
    return re.fullmatch(pattern, _ANOTHER.sub("N", said.replace("\t", "    "))) is not None


def changed(text: str, changes: Mapping[str, str]) -> str:
    """Return a text with others in it replaced, all at once, the longest first. Each must be there."""
    missing = [old for old in changes if old not in text]
    assert not missing, f"{missing} is not in:\n{text}"
    longest_first = sorted(changes, key=len, reverse=True)
    return (
        re.sub("|".join(map(re.escape, longest_first)), lambda found: changes[found[0]], text)
        if changes
        else text
    )


@dataclass(frozen=True)
class Shown:
    """A command of radmeter's in a block, and the lines that the block shows below it."""

    words: tuple[str, ...]
    output: tuple[str, ...]


def commands(text: str) -> Iterator[Shown]:
    """Yield the commands of a block. Where one begins with `$`, the lines that do not are what the others print."""
    lines = [line for line in text.replace("\\\n", "").splitlines() if line.strip()]
    screen = any(line.startswith("$ ") for line in lines)
    command, output = "", list[str]()
    for line in [*lines, "$ " if screen else ""]:
        if screen and not line.startswith("$ "):
            output.append(line)
            continue
        if command:
            first, *words = shlex.split(command, comments=True)
            assert first == "radmeter", command
            # What takes its output is not run: a file, or the other end of a pipe.
            words = list(takewhile(lambda word: word not in (">", ">>", "|"), words))
            yield Shown(tuple(words), tuple(output))
        command, output = line.removeprefix("$ "), []


def run(text: str, dsn: str, *, asks: Collection[str] = (), **environment: str) -> list[str]:
    """Run the commands of a block, each as it is; return what each prints. What the block shows must be in it.

    Without a terminal a command that asks wants --yes: it is added, and the block's question is left out. `asks` has
    the beginnings of those whose question the block does not show.
    """
    printed = []
    for shown in commands(text):
        questions = [line for line in shown.output if line.endswith("[y/N]: y")]
        yes = bool(questions) or " ".join(shown.words).startswith(tuple(asks))
        done = radmeter(dsn, *shown.words, *(["--yes"] if yes else []), **environment)
        said = done.output + done.errors
        assert done.exit_code == 0, f"{shlex.join(shown.words)}\n{said}"
        if shown.output:
            assert_shown([line for line in shown.output if line not in questions], said)
        printed.append(said)
    return printed


def assert_shown(shown: list[str], printed: str) -> None:
    """Compare what a page shows with what a command printed. Numbers, and the width of columns, may differ."""
    lines = [shape(line) for line in printed.splitlines() if line.strip()]
    if LEFT_OUT not in shown:
        # Standard output and standard error are apart here.
        assert sorted(shape(line) for line in shown if line.strip()) == sorted(lines)
        return
    for line in shown:
        assert line == LEFT_OUT or shape(line) in lines, f"{line}\n\nis not in\n\n{printed}"


def shape(line: str) -> str:
    """Return a line with a `0` for each number, without the width of its columns and the units of bytes."""
    return " ".join(re.sub(r"0 [KMGT]iB", "0 B", NUMBER.sub("0", line)).split())


@dataclass(frozen=True)
class Fence:
    """A fenced block: its page, its line, the comment before it, and the name of the block right above it, if any."""

    page: str
    line: int
    name: str | None
    reason: str | None
    below: str | None = None


def fences(path: Path) -> list[Fence]:
    """Return the fenced blocks of a document. The page is named as `block` takes it."""
    page = os.path.relpath(path, DOCS)
    found: list[Fence] = []
    inside, before, end = False, "", 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            if not inside:
                mark = re.fullmatch(r" *<!-- (not )?run: (.+) -->", before)
                name, reason = (
                    (None, None) if mark is None else (None, mark[2]) if mark[1] else (mark[2], None)
                )
                below = found[-1].name if found and end == number - 2 and not before else None
                found.append(Fence(page, number, name, reason, below))
            else:
                end = number
            inside = not inside
        before = line
    return found
