"""The words of the pages: what a reader may not know is in docs/glossary.md.

Three kinds of words are looked for, outside of code: acronyms; the words that the code itself uses for states, kinds,
commands and checks; and words of RADIUS, PostgreSQL and accounting that are listed here. A word is explained if it is
in the first column of the glossary, or emphasised in a meaning. What every reader knows is in a list below.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from radmeter.api.reads.states import STATES
from radmeter.cli.main import cli
from radmeter.database.revision_constants import MIGRATIONS
from radmeter.doctor.checks import CHECKS
from scripts.documents.reference import leaves

DOCS = Path(__file__).parents[2] / "docs"
# Those who know neither RADIUS nor PostgreSQL.
NEWCOMERS = sorted(
    path for part in ("accountants", "hosts", "integrators") for path in (DOCS / part).rglob("*.md")
)
# Those who run it. All pages are theirs but those of developers, and lists that are made from the code.
OTHERS = {
    "architecture.md",
    "decisions.md",
    "glossary.md",
    "measurements.md",
    "performance.md",
    "developers",
    "reference",
}
OPERATORS = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.relative_to(DOCS).parts[0] not in OTHERS and path not in NEWCOMERS
)
PAGES = [*NEWCOMERS, *OPERATORS]
ACRONYM = re.compile(r"(?<![\w-])[A-Z]+[a-z]?[A-Z][A-Za-z]*(?:-?\d+)?(?!\w)")
ATTRIBUTE = re.compile(
    r"\b(?:Acct|NAS|Called|Calling|Event|User|Session|Reply|Framed|CoA|Access)(?:-[A-Z][A-Za-z]+)+\b"
)


def listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Acronyms and names of programs that are explained nowhere, since every reader knows them, or needs no more than what
# the sentence says.
KNOWN = listed(
    "AO ASCII CSV EUR HAProxy HTML HTTP IP IPv4 IPv6 ISO JSON MS PDF PgBouncer POST README SQL TAB URL UTC XLSX"
)
# What an operator knows of PostgreSQL's statements, or reads in its manual.
OF_SQL = listed(
    """
    ACCESS ALTER BYPASSRLS CHECK CHECKs COMMITTED CONCURRENTLY CREATEROLE ENABLE EXCLUSIVE EXECUTE EXPLAIN FILE INSERT
    NOT NULL NaN PUBLIC READ REPEATABLE REPLICATION RM011 SECURITY SIGSTOP SQLSTATE TEMPORARY TRUNCATE UPDATE VACUUM
    VALID
    """
)
# The code's words that mean what they mean everywhere.
EVERYDAY = listed(
    """
    add assign backup billing check clocks compare connection copied copying critical daily damaged dead disconnect disk
    done dropped enable explain export failed import info install list loaded login logins mails missing monthly nothing
    one-time password people public reader rejected remove rename report requests resume return revoke run sent serve
    server set settings shorter show split status test top undone up user users values versions warning weekly writing
    written
    """
)
# Words of the field that a page may use, if the glossary has them.
FIELD = """
    Accounting-On, Accounting-Off, Access-Accept, Access-Reject, interim, octet, session, Start, Stop, Gigawords, NAS,
    realm, partition, pooler, standby, leader, replication, transaction, trigger, failover, row-level security, gross,
    net, draft, tier, invoice, credit note, issuer, settling time, cursor, ETag, endpoint, stream, webhook, rate, role,
    throughput, forecast, watched, down, recipient, merged, over, warned, throttled, suspended
"""


def prose(document: Path) -> str:
    """Return what is read of a document: without code, comments, addresses, and targets of links."""
    text = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)", " ", text, flags=re.DOTALL)
    text = re.sub(r"<!--[^>]*-->|<[^>\n]+>|^ {4}.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"(?<=\])\([^)]*\)|https?://\S+", "", text)


def stem(word: str) -> str:
    """Return a word without the ending of a plural."""
    return re.sub(r"(?<![su])s$", "", re.sub(r"ies$", "y", word.lower().replace("_", " ")))


def explained() -> set[str]:
    """Return the words of the glossary."""
    rows = re.findall(
        r"^\| (?:<a [^|]*</a>)+([^|]+) \| (.*) \|$", (DOCS / "glossary.md").read_text(), re.MULTILINE
    )
    words = {stem(word.strip()) for name, _ in rows for word in re.sub(r"\(.*?\)", "", name).split(",")}
    return words | {stem(word) for _, meaning in rows for word in re.findall(r"\*([^*]+)\*", meaning)}


def is_explained(word: str, words: set[str]) -> bool:
    # A verb is there in one form, an acronym without the number that follows it.
    forms = (word, word.removesuffix("ed"), word.removesuffix("d"), f"{word}d", f"{word}ed")
    return any(stem(form) in words for form in (*forms, re.sub(r"-?\d+$", "", word)))


def of_the_code() -> set[str]:
    """Return the words that the code uses for what people see: values of columns, states, commands, checks."""
    found = {check.name for check in CHECKS} | set(STATES)
    for revision in (MIGRATIONS / "versions").glob("*.py"):
        for values in re.findall(r"CHECK \(\w+ IN \((.*?)\)\)", revision.read_text(), re.DOTALL):
            found |= set(re.findall(r"'([^']+)'", values))
    for name, _ in leaves(cli, ()):
        found |= set(name.split())
    return found


def used(words: set[str], text: str) -> Iterator[str]:
    for word in sorted(words):
        if re.search(rf"(?<![\w-]){re.escape(word)}(?:s|ed)?(?![\w-])", text):
            yield word


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_acronyms_are_explained(page: Path) -> None:
    words, text = explained(), prose(page)
    known = KNOWN | (OF_SQL if page in OPERATORS else frozenset())
    found = set(ACRONYM.findall(text)) | set(ATTRIBUTE.findall(text) if page in NEWCOMERS else ())
    assert sorted(word for word in found - known if not is_explained(word, words)) == []


def test_the_words_of_the_code_are_explained() -> None:
    words, text = explained(), "\n".join(prose(page) for page in PAGES)
    assert [word for word in used(of_the_code() - EVERYDAY, text) if not is_explained(word, words)] == []


def test_the_words_of_the_field_are_explained() -> None:
    words, text = explained(), "\n".join(prose(page) for page in PAGES)
    assert [
        word for word in used(set(re.split(r",\s+", FIELD.strip())), text) if not is_explained(word, words)
    ] == []


def test_what_every_reader_knows_is_used_and_not_explained_as_well() -> None:
    words = explained()
    assert sorted(EVERYDAY - of_the_code()) == []
    assert [word for word in sorted(EVERYDAY) if stem(word) in words] == []
