"""The sentences of a document: of its prose and list items, not of its code, tables and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 30
# Beginnings after which a reader has to wait for the subject, or read the sentence again. None of them can begin a
# sentence in the usual order. A question may begin with them.
INVERTED = re.compile(
    r"(?:Where|Whoever|Whom|Who|Nor|Hardly|Scarcely|Of(?! course)|That (?:an?|the|there|every|each)) "
)

ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.) +")
END = re.compile(r"(?<=[^.][.!?])(?<!e\.g\.)(?<!i\.e\.)[)\"”]*\s+|:\s+(?=[A-Z])")
WORD = re.compile(r"[\w'’-]+(?:[.,:/]\w+)*")


@dataclass(frozen=True)
class Sentence:
    line: int
    """Where its paragraph begins."""
    text: str

    @property
    def words(self) -> int:
        """How many words it has. Inline code is one, and so is a number."""
        return len(WORD.findall(self.text))


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield each paragraph or list item as one line, with the number of its first line."""
    fenced, first, lines = False, 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        fence = line.lstrip().startswith("```")
        # Four blanks at the beginning of a paragraph are a screen of a command.
        other = (
            not line.strip() or re.match(r"\s*(?:#|\||<!--)", line) or (not lines and line.startswith("    "))
        )
        if lines and (fence or fenced or other or ITEM.match(line)):
            yield first, " ".join(lines)
            lines = []
        if not (fence or fenced or other):
            first = first if lines else number
            lines.append(ITEM.sub("", line) if not lines else line.strip())
        fenced ^= fence


def prose_of(docstring: str) -> str:
    """Return a docstring without what is laid out by hand: a block that begins with \\b, as click has it, and tables.

    A line that is indented otherwise than the one before begins a paragraph: so does a description in NumPy's sections.
    """
    lines, before = list[str](), 0
    for block in re.split(r"\n\s*\n", docstring):
        if re.match(r"\s*(?:\x08|=+ )", block):
            continue
        for line in block.splitlines():
            indent = len(line) - len(line.lstrip())
            lines += [""] * (indent != before) + [line.strip().strip("-")]
            before = indent
        lines.append("")
    return "\n".join(lines)


def plain(paragraph: str) -> str:
    """Return what is read of a paragraph: a link is its text, inline code one word, emphasis is not seen."""
    paragraph = re.sub(r"(`+).+?\1", "x", paragraph)
    paragraph = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
    return re.sub(r"\*+", "", paragraph)


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the sentences of a document.

    A full stop, a question mark or the end of a paragraph or list item ends one, and so does a colon before a capital
    letter.
    """
    for line, paragraph in paragraphs(text):
        for sentence in END.split(plain(paragraph)):
            if sentence.strip():
                yield Sentence(line, sentence.strip())


def too_long(text: str) -> list[str]:
    return [
        f"{each.line}: {each.words} words: {each.text}" for each in sentences(text) if each.words > LONGEST
    ]


def inverted(text: str) -> list[str]:
    """Return the sentences that begin with what is better said later. A question is none of them."""
    return [
        f"{each.line}: {each.text}"
        for each in sentences(text)
        if INVERTED.match(each.text) and not each.text.endswith("?")
    ]


def slips(text: str) -> list[str]:
    """Return the words that stand twice, and two blanks within a line."""
    found = []
    for line, paragraph in paragraphs(text):
        found += [f"{line}: {twice[0]}" for twice in re.finditer(r"\b([A-Za-z]{2,}) \1\b", plain(paragraph))]
        found += [f"{line}: {wide[0]}" for wide in re.finditer(r"\S+ {2,}\S+", plain(paragraph))]
    return found
