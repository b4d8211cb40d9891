"""`radmeter doctor --only billing` and `radmeter status`: months to close, drafts, and the directory of documents."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.billing_clock import set_clock
from support.books import FORMER, GB, LATEST, LONG_AGO, OLDEST, Books, day
from support.commands import radmeter
from support.doctoring import Line, faults, paste


@pytest.fixture
def books(database: str, tmp_path: Path) -> Iterator[Books]:
    made = Books(database, tmp_path)
    try:
        yield made
    finally:
        made.connection.close()


@pytest.fixture
def found(books: Books) -> Callable[[], list[Line]]:
    """Return what asks doctor."""
    return lambda: faults(
        books.dsn,
        "billing",
        RADMETER_BILLING_DIRECTORY=str(books.files.directory),
        RADMETER_BILLING_KEY_FILE=str(books.files.key_file),
    )


def said(lines: list[Line]) -> list[tuple[str, str, str]]:
    return [(each.level, each.said, each.remedy) for each in lines]


def test_a_month_to_close_and_drafts_that_wait(books: Books, found: Callable[[], list[Line]]) -> None:
    assert found() == []
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(FORMER, 3), GB)
    books.close(FORMER)
    first = (
        "yellow",
        f"1 draft waits to be issued, the first of {FORMER}",
        f"radmeter billing issue {FORMER}",
    )
    assert said(found()) == [
        ("yellow", f"{LATEST} has ended and is not closed", f"radmeter billing close {LATEST}"),
        ("yellow", "drafts have no legal name of 1 issuer ('default')", ""),
        ("yellow", "drafts have no address of 1 issuer ('default')", ""),
        ("yellow", "drafts have no address of 1 tenant ('acme')", ""),
        first,
    ]
    assert found()[3].note == (
        f"Before they are issued: `radmeter tenants set NAME --address ..`, `radmeter billing discard {FORMER}` "
        "and close again: issued documents never change."
    )
    shown = radmeter(books.dsn, "status", "--sample", "0").output
    assert f"{LATEST} has ended and is not closed; 1 draft waits to be issued. See `radmeter doctor`" in shown
    # There is no journal here, so the exit code is 1.
    state = json.loads(radmeter(books.dsn, "status", "--sample", "0", "--format", "json").output)
    assert state["billing"] == {"to_close": str(LATEST), "drafts": 1}
    books.issue(FORMER)
    books.close(LATEST)
    # Last month may have settled by now, or not.
    assert said(found()) in (
        [],
        [("yellow", f"{LATEST.next} has ended and is not closed", f"radmeter billing close {LATEST.next}")],
    )


def test_a_month_that_has_not_settled_does_not_wait_yet(
    books: Books, found: Callable[[], list[Line]]
) -> None:
    books.tenant("acme", timezone="Etc/GMT+12")
    books.close(FORMER)
    settled = datetime.combine(LATEST.end, datetime.min.time(), UTC) + timedelta(hours=36)
    set_clock(books.connection, settled - timedelta(seconds=1))
    assert found() == []
    set_clock(books.connection, settled)
    assert [each.remedy for each in found()] == [f"radmeter billing close {LATEST}"]


def test_a_directory_that_does_not_agree_with_the_database(
    books: Books, found: Callable[[], list[Line]]
) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), GB)
    books.closed(LATEST)
    path = books.files.directory / "invoice-1-0-00000001.json"
    content = path.read_text()
    path.unlink()
    (line, *_) = found()
    assert (line.level, line.remedy) == ("yellow", "radmeter billing reconcile")
    assert f"{books.files.directory} lacks 1 issued document, such as {path.name}" in line.said
    path.write_text(content)
    (books.files.directory / "invoice-1-0-00000002.json").write_text(content)
    (line, *_) = found()
    assert (line.level, line.remedy) == ("red", "radmeter billing reconcile")
    assert "the database lacks 1 document" in line.said


def test_documents_of_another_database_are_moved_away(books: Books, found: Callable[[], list[Line]]) -> None:
    """As after `./scripts/run --clean`: the documents stay, and the database is a new one."""
    books.tenant("acme")
    books.router("lobby", "acme")
    books.used("lobby", day(OLDEST, 3), GB)
    books.closed(OLDEST)
    ((other,),) = books.connection.execute("SELECT radmeter.database_id()::text").fetchall()
    books.connection.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
    books.connection.execute("DELETE FROM invoices")
    books.connection.execute("ALTER TABLE invoices ENABLE TRIGGER USER")
    books.connection.execute("UPDATE radmeter.database_identity SET id = gen_random_uuid()")
    (line, *_) = found()
    assert (line.level, line.note[:31]) == ("red", "Only if that database is gone: ")
    assert f"{books.files.directory} has the documents of another database ({other})" in line.said
    paste(line.remedy)
    moved = books.files.directory.with_name(f"{books.files.directory.stem}-{other[:8]}")
    assert (moved / "invoice-1-0-00000001.json").exists()
    assert not books.files.directory.exists()
    assert "another database" not in str(found())


@pytest.mark.parametrize("names", [(), ("acme",)])
def test_a_month_that_was_discarded_waits_though_later_ones_are_closed(
    books: Books, found: Callable[[], list[Line]], names: tuple[str, ...]
) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    for month in (OLDEST, FORMER, LATEST):
        books.used("lobby", day(month, 3), GB)
        books.closed(month) if month != FORMER else books.close(month)
    books.discard(FORMER, *names)
    assert said(found())[0] == (
        "yellow",
        f"{FORMER} has ended and is not closed",
        f"radmeter billing close {FORMER}",
    )
    books.closed(FORMER)
    assert str(FORMER) not in [each.said.split()[0] for each in found()]


@pytest.mark.parametrize("discarded", [True, False])
def test_a_month_with_usage_before_the_first_closed_one_waits(
    books: Books, found: Callable[[], list[Line]], discarded: bool
) -> None:
    books.tenant("acme")
    books.router("lobby", "acme")
    for month in (FORMER, LATEST):
        books.used("lobby", day(month, 3), GB)
    assert [each.remedy for each in found()] == [f"radmeter billing close {FORMER}"]
    books.closed(LATEST)
    if discarded:
        books.close(FORMER)
        books.discard(FORMER)
    assert said(found()) == [
        ("yellow", f"{FORMER} has ended and is not closed", f"radmeter billing close {FORMER}")
    ]
    books.closed(FORMER)
    assert str(FORMER) not in [each.said.split()[0] for each in found()]


def test_usage_that_no_rate_or_assignment_covers_does_not_wait(
    books: Books, found: Callable[[], list[Line]]
) -> None:
    books.tenant("acme")
    books.router("lobby")
    books.assign("lobby", "acme", LATEST.first)
    books.tenant("beta")
    books.connection.execute("UPDATE radmeter.tenant_rates SET from_day = %s", (LATEST.first,))
    books.rate("acme", LONG_AGO, price="1")
    books.router("pool", "beta")
    books.router("yard", "acme")
    books.used("yard", day(FORMER, 3), 0)
    for router in ("lobby", "pool"):
        books.used(router, day(FORMER, 3), GB)
        books.used(router, day(LATEST, 3), GB)
    assert [each.remedy for each in found()] == [f"radmeter billing close {LATEST}"]
    books.closed(LATEST)
    assert str(FORMER) not in [each.said.split()[0] for each in found()]
