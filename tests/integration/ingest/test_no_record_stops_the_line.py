"""Whatever attributes a journal's record has, it is counted, ignored or set aside, and the next record is counted."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.fuzz import fuzzing
from support.ledger import ingest
from support.servers import Connection, Server
from support.shipping import ship

from radmeter.ingest.records import as_json
from radmeter.packet import attributes as a
from radmeter.plugin.journal.reader import Entry
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.schema.upgrade import upgrade

OCTETS = 1000
# What a router writes about a user, or passes on from the user's device.
TEXTS = (
    a.USER_NAME,
    a.CALLING_STATION_ID,
    a.CALLED_STATION_ID,
    a.NAS_IDENTIFIER,
    a.NAS_PORT_ID,
    a.NAS_PORT_TYPE,
    a.CONNECT_INFO,
    a.CLASS,
    a.ACCT_AUTHENTIC,
    a.ACCT_TERMINATE_CAUSE,
    a.SERVICE_TYPE,
    a.FRAMED_PROTOCOL,
    a.REALM,
    "Mikrotik-Host-IP",
)
ADDRESSES = (
    a.FRAMED_IP_ADDRESS,
    a.FRAMED_IPV6_ADDRESS,
    a.FRAMED_IPV6_PREFIX,
    a.FRAMED_INTERFACE_ID,
    a.DELEGATED_IPV6_PREFIX,
)
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def opened(server: Server) -> Iterator[Connection]:
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def stop(number: int) -> list[list[Any]]:
    """A Stop of a session of its own."""
    return [
        [a.USER_NAME, f"user{number}"],
        [a.ACCT_STATUS_TYPE, "Stop"],
        [a.ACCT_SESSION_ID, f"session{number}"],
        [a.NAS_IP_ADDRESS, "192.0.2.1"],
        [a.CALLED_STATION_ID, "AA-BB-CC-DD-EE-FF:Lobby"],
        [a.ACCT_INPUT_OCTETS, str(OCTETS)],
    ]


def encoded(pairs: Any) -> str:
    """Return attributes as the plugin writes them: lone surrogates as escapes."""
    text = json.dumps(pairs, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(pairs, separators=(",", ":"))
    return text


def shipped(connection: Connection, *texts: str, arrivals: Sequence[int | None] = ()) -> tuple[int, int, int]:
    """Ship records with these texts, and a good one behind them. Return the records, the rejected and the ignored.

    The good one must be counted.
    """
    number = next(numbers)
    with TemporaryDirectory(prefix="radmeter-test-") as directory:
        with closing(JournalWriter(Path(directory), sync="interval")) as journal:
            for text, arrival in itertools.zip_longest(texts, arrivals):
                journal.append(time.time_ns() // 1000 if arrival is None else arrival, text)
            journal.append(time.time_ns() // 1000, encoded(stop(number)))
        ship(Path(directory), connection.info.dsn)
        node = (Path(directory) / "node").read_text().strip()
    row = connection.execute(
        "SELECT last_seq, records, rejected, ignored FROM radmeter.nodes WHERE node = %s", (node,)
    ).fetchone()
    assert row is not None
    assert row[1] == len(texts) + 1
    assert counted(connection, f"session{number}") == OCTETS
    return (row[1], row[2], row[3])


def counted(connection: Connection, session: str) -> int | None:
    """Octets of a session; None: there is none. A session that is counted has its octets in the user's counter."""
    row = connection.execute(
        """SELECT sum(acctinputoctets)::bigint, bool_and(coalesce(username, '') = '' OR EXISTS (
               SELECT FROM user_quota_usage AS usage
               WHERE usage.username = session.username AND usage.period_start = session.period_start
                 AND usage.bytes_in >= session.acctinputoctets))
           FROM radacct AS session WHERE acctsessionid = %s""",
        (session,),
    ).fetchone()
    assert row is not None
    assert row[1] is not False
    return None if row[0] is None else int(row[0])


# Surrogates and NUL come often, and so do their escapes, spelt out.
PIECES = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(
        [
            "\0",
            "\ud800",
            "\udce9",
            "\\u0000",
            "\\ud800",
            "\\x00",
            "\\",
            '"',
            "\n",
            "0x00",
            "'",
            "%s",
            "$1",
            "NaN",
        ]
    ),
)
VALUES = st.one_of(
    st.lists(PIECES, max_size=4).map("".join),
    st.sampled_from(["", "x" * 253, "\U0001f600" * 63, "\0" * 253, "\ud800" * 253, "ж" * 126]),
)
SCALARS = st.one_of(
    VALUES,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([2**64, 10**400, "9" * 5000]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(VALUES, inner, max_size=3)),
    max_leaves=5,
)
NAMES = st.one_of(
    st.sampled_from([name for name in vars(a).values() if isinstance(name, str)]),
    st.sampled_from(list(a.TEXT_AS_OCTETS)),
    VALUES,
)


def test_each_text_of_a_packet_can_be_anything(opened: Connection) -> None:
    """Nobody leaves the quota by a value: in each text attribute, these are counted."""
    nul, surrogates = ("\0", "a\0", "a\0b"), ("\ud800", "a\udce9")
    for value in (*nul, *surrogates, "\\u0000", "a\\u0000b", "\\ud800", "\\", "\\x00", "x" * 253):
        sessions = []
        texts = []
        for name in TEXTS:
            number = next(numbers)
            texts.append(encoded([[name, value], *(each for each in stop(number) if each[0] != name)]))
            sessions.append((name, f"session{number}"))
        assert shipped(opened, *texts)[1:] == (0, 0), repr(value)
        for name, session in sessions:
            assert counted(opened, session) == OCTETS, (name, value)


@fuzzing(12)
@given(
    described=st.lists(st.dictionaries(st.sampled_from(TEXTS + ADDRESSES), VALUES, max_size=6), max_size=8)
)
@example(
    described=[
        *(dict.fromkeys(TEXTS, value) for value in ("\\u0000", "\0", "\ud800")),
        *(dict.fromkeys(ADDRESSES, value) for value in ("none", "\0")),
    ]
)
def test_no_description_makes_a_packet_uncounted(opened: Connection, described: list[dict[str, str]]) -> None:
    packets = {}
    for values in described:
        number = next(numbers)
        rest = [each for each in stop(number) if each[0] not in values]
        packets[f"session{number}"] = encoded([*map(list, values.items()), *rest])
    assert shipped(opened, *packets.values())[1:] == (0, 0)
    for session in packets:
        assert counted(opened, session) == OCTETS, packets[session]


RECORDS = st.tuples(
    st.lists(st.tuples(NAMES, st.one_of(VALUES, VALUES, ANYTHING)).map(list), max_size=8),
    st.one_of(
        st.none(), st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([-(2**63), 2**63 - 1, 0])
    ),
    st.booleans(),
)


@fuzzing(12)
@given(records=st.lists(RECORDS, max_size=10))
@example(
    records=[
        ([[a.USER_NAME, "й" * 4000]], None, True),
        ([[a.EVENT_TIMESTAMP_SECONDS, "9" * 30]], None, True),
        ([[a.EVENT_TIMESTAMP, "9" * 30]], -(2**63), True),
        ([[a.ACCT_DELAY_TIME, "604800"]], -(2**63), True),
        ([[a.ACCT_STATUS_TYPE, "\ud800\0"]], None, True),
        ([["Tmp-Octets-0", "0x\ud800\0"]], None, True),
        ([[a.NAS_IP_ADDRESS, "192.0.2.1\0"]], None, True),
        ([["Tmp-IP-Address-0", "\ud800"]], None, True),
        ([["Tmp-String-0", "fe80::1%eth0"]], None, True),
        ([[a.USER_NAME, {"\0": ["\ud800"]}]], None, True),
        ([], None, False),
    ]
)
def test_any_list_of_attributes(
    opened: Connection, records: list[tuple[list[list[Any]], int | None, bool]]
) -> None:
    """A record that can be neither counted nor set aside would stop all that follow it."""
    texts = [
        encoded([*pairs, *(stop(next(numbers)) if is_packet else [])]) for pairs, _, is_packet in records
    ]
    shipped(opened, *texts, arrivals=[arrival for _, arrival, _ in records])


def test_lists_in_lists_in_lists(opened: Connection) -> None:
    for depth in (100, 300, 900, 5000):
        deep = "[" * depth + '"x"' + "]" * depth
        rest = encoded(stop(next(numbers)))[1:]
        shipped(opened, f'[["{a.USER_NAME}",{deep}],{rest}', f"[{deep},{rest}", deep)


def test_a_database_that_lacks_characters(server: Server) -> None:
    """What its encoding cannot hold is written out. Even the attributes may be refused: they are kept as ASCII."""
    name = "latin1"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        upgrade(server.dsn(name))
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            number = next(numbers)
            described = [[a.CONNECT_INFO, "жар"], *stop(number)]
            named = [[a.USER_NAME, "Жанна"], *stop(next(numbers))[1:]]
            nowhere = [[a.ACCT_STATUS_TYPE, "жар"], [a.USER_NAME, "Жанна"]]
            assert shipped(connection, *map(encoded, (described, named, nowhere)))[1:] == (1, 0)
            assert counted(connection, f"session{number}") == OCTETS
            assert counted(connection, f"session{number + 1}") == OCTETS
            stored = connection.execute("SELECT pairs::text FROM rejected_packet").fetchone()
            assert stored is not None
            assert "\\\\u0416" in stored[0]
    finally:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_record_without_a_router_is_not_dropped(opened: Connection) -> None:
    """The number of those that are counted, set aside and ignored is the number of those that came."""
    with opened.transaction(force_rollback=True):
        opened.execute(
            """CREATE OR REPLACE FUNCTION radmeter.record_fault(
                   p_status text, p_uid text, p_session_id text, p_nas_ip inet, p_router_key text, p_received_us bigint,
                   p_event_us bigint, p_stamped boolean, p_session_time bigint, p_input_octets bigint,
                   p_output_octets bigint, p_gigawords boolean, p_interim_interval bigint) RETURNS text
               LANGUAGE sql STABLE PARALLEL SAFE RETURN NULL::text"""
        )
        entry = Entry(1, time.time_ns() // 1000, encoded(stop(next(numbers))))
        record = as_json(entry)
        del record["router_key"]
        with pytest.raises(psycopg.errors.CheckViolation, match="the rest would be lost"):
            ingest(opened, "without a router", [record])
