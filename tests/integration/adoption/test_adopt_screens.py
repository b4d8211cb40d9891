"""`radmeter adopt` on a terminal: the plan, the question, the bars, and what a refusal looks like."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from support import stock
from support.screens import screen
from support.servers import Server


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            stock.fill(connection, 2000, open_sessions=100, zombies=900)
            connection.execute("ANALYZE radacct")
        yield dsn


def test_the_plan_the_question_the_bars_and_the_way_back(radius: str) -> None:
    with screen(radius, "adopt", "--from", "radacct") as terminal:
        terminal.expect(r"about 3,000 sessions")
        terminal.expect(r"1,000 move to radacct_open, 2 batches of 500")
        terminal.expect(r"Adopt radacct\? \[y/N\]: ")
        terminal.type("y")
        terminal.expect("index radacct_legacy_acctuniqueid_idx")
        terminal.expect(r"1,000 of 1,000 sessions")
        terminal.expect(r"the swap kept others waiting for \d+ ms")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text
        assert not re.search(r"\b0 rows\b", terminal.text)
        assert all(len(line) <= 120 for line in terminal.text.splitlines())
    with screen(radius, "adopt", "--undo", columns=80) as terminal:
        terminal.expect(r"Give radacct back\? \[y/N\]: ")
        terminal.type("y")
        terminal.expect("put rlm_sql back")
        assert terminal.end() == 0
        assert all(len(line) <= 80 for line in terminal.text.splitlines())


def test_the_plan_fits_a_narrow_terminal(radius: str) -> None:
    with screen(radius, "adopt", "--from", "radacct", "--plan", columns=80) as terminal:
        terminal.expect("docs/adoption.md")
        assert terminal.end() == 0
        assert all(len(line) <= 80 for line in terminal.text.splitlines())


def test_no_is_an_answer(radius: str) -> None:
    with screen(radius, "adopt", "--from", "radacct") as terminal:
        terminal.expect(r"\[y/N\]: ")
        terminal.type("")
        assert terminal.end() == 130
    with psycopg.connect(radius) as connection:
        assert connection.execute("SELECT to_regnamespace('radmeter')").fetchone() == (None,)


def test_a_refusal_says_why_and_what_to_do(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("CREATE MATERIALIZED VIEW by_day AS SELECT count(*) FROM radacct")
    with screen(radius, "adopt", "--from", "radacct") as terminal:
        terminal.expect("nothing was changed")
        terminal.expect("1. the materialized view public.by_day would go on reading the old rows only")
        terminal.expect("DROP MATERIALIZED VIEW public.by_day;")
        assert terminal.end() == 1
