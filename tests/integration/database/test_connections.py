"""What connections have in common: a peer that vanished is noticed. And which of them give up a long question."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.servers import Connection

from radmeter.database.connection import connect
from radmeter.database.views import reading
from radmeter.errors import StoreUnavailable
from radmeter.ingest.store import Store
from radmeter.trial.counted import Counted

# A switch-over without a word is noticed within a minute: 20 s, then three times 10 s.
KEEPALIVE = {
    "connect_timeout": "5",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


@contextmanager
def of_connect(dsn: str) -> Iterator[Connection]:
    with connect(dsn) as connection:
        yield connection


@contextmanager
def of_the_shipper(dsn: str) -> Iterator[Connection]:
    store = Store(dsn)
    yield store._connection
    store.close()


@contextmanager
def of_the_read_commands(dsn: str) -> Iterator[Connection]:
    with reading(dsn) as connection:
        yield connection


@contextmanager
def of_the_counters(dsn: str) -> Iterator[Connection]:
    counters = Counted(dsn, Path("/nonexistent/journal"))
    counters.everything()
    assert counters._connection is not None
    yield counters._connection
    counters.close()


@pytest.mark.parametrize("opened", [of_connect, of_the_shipper, of_the_read_commands, of_the_counters])
def test_a_peer_that_vanished_is_noticed(database: str, opened: object) -> None:
    with opened(database) as connection:  # type: ignore[operator]
        assert KEEPALIVE.items() <= connection.info.get_parameters().items()
        assert connection.info.get_parameters()["application_name"] == "radmeter"


def test_what_the_connection_string_says_goes_first(database: str) -> None:
    with connect(f"{database}&keepalives_idle=7&application_name=mine") as connection:
        given = connection.info.get_parameters()
    assert (given["keepalives_idle"], given["application_name"]) == ("7", "mine")
    assert given["keepalives_count"] == "3"


def test_counters_that_are_locked_are_given_up(database: str) -> None:
    """Who watches the counters is told that they do not answer; a statement that works has no such limit."""
    counters = Counted(database, Path("/nonexistent/journal"))
    assert counters._query("SELECT current_setting(%s)", "statement_timeout") == [("10s",)]
    with of_connect(database) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
    counters._query("SELECT set_config('statement_timeout', %s, false)", "100ms")
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE user_quota_usage")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            counters.everything()
    counters.everything()  # connects anew
    counters.close()
