"""`radmeter people erase`: the name is nowhere afterwards, and no counter has changed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from support.adopted import make_legacy, put
from support.archives import sessions_of
from support.commands import Packets, Result, radmeter
from support.ledger import days, ingest, subscribe, users
from support.servers import Connection

from radmeter.adoption import backfill
from radmeter.ingest.records import as_json
from radmeter.ingest.store import Store
from radmeter.plugin.journal.reader import Entry
from radmeter.usage import verify

DAY = 86_400
NAME = "alice@example.org"
MAC = "A1-B2-C3-D4-E5-F6"
ADDRESS = "198.51.100.77"
ADDRESS_V6 = "2001:db8:a11c:e::7"
PREFIX = "2001:db8:a11c:e00::/56"
PERSONAL: dict[str, Any] = {
    "Calling_Station_Id": MAC,
    "Framed_IP_Address": ADDRESS,
    "Framed_IPv6_Address": ADDRESS_V6,
    "Framed_IPv6_Prefix": PREFIX,
    "Delegated_IPv6_Prefix": PREFIX,
    "Framed_Interface_Id": "a11c:e:0:7",
    "Connect_Info": f"54Mbps {MAC}",
    "Class": f"plan of {NAME}",
    "NAS_Port_Id": f"<pppoe-{NAME}>",
    "Realm": "realm-of-alice",
}
PLANTED = (NAME, MAC, ADDRESS, ADDRESS_V6, "2001:db8:a11c:e00", "a11c:e:0:7", "realm-of-alice")
# What stays on purpose, as docs/operators/people.md says: invoices.
STAYS = {"public.invoices"}


def erase(dsn: str, *arguments: str, name: str = NAME) -> Result:
    return radmeter(dsn, "people", "erase", name, "--yes", *arguments)


def plan(connection: Connection, **plan: Any) -> None:
    """Give the person a plan, which is not named after anybody."""
    subscribe(connection, NAME, **plan)
    connection.execute("UPDATE plans SET name = 'basic'")


def textual_columns(connection: Connection) -> Iterator[tuple[str, str, str]]:
    """Yield table, column and type of everything of ours that can hold text or an address."""
    yield from connection.execute(
        """SELECT format('%I.%I', nspname, relname), attname, format_type(atttypid, atttypmod)
           FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
           JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE nspname IN ('public', 'radmeter') AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
             AND format_type(atttypid, atttypmod) IN ('text', 'text[]', 'json', 'jsonb', 'inet', 'macaddr', 'bytea',
                                                      'character varying', 'name', 'cidr')
           ORDER BY 1, 2"""
    ).fetchall()


def places(connection: Connection, *texts: str) -> set[str]:
    """Return the columns in which one of the texts is, and pg_stats if the planner's statistics have one."""
    found = set()
    for table, column, _ in textual_columns(connection):
        name = sql.Identifier(*table.split("."))
        query = sql.SQL("SELECT 1 FROM {} WHERE EXISTS (SELECT FROM unnest(%s::text[]) AS planted"
                        " WHERE strpos(lower({}::text), lower(planted)) > 0) LIMIT 1")  # fmt: skip
        if connection.execute(query.format(name, sql.Identifier(column)), (list(texts),)).fetchone():
            found.add(f"{table}.{column}")
    for table, column in connection.execute(
        """SELECT format('%%I.%%I', schemaname, tablename), attname FROM pg_stats, unnest(%s::text[]) AS planted
           WHERE schemaname IN ('public', 'radmeter')
             AND strpos(lower(concat(most_common_vals::text, histogram_bounds::text)), lower(planted)) > 0""",
        (list(texts),),
    ):
        found.add(f"{table}.{column} in pg_stats")
    return found


def different(connection: Connection) -> list[Any]:
    """Return what `radmeter verify` would find."""
    with verify.snapshot(connection):
        scope = verify.Scope()
        return [
            *verify.user_differences(connection, scope)[1],
            *verify.router_differences(connection, scope)[1],
        ]


def totals(connection: Connection) -> dict[str, Any]:
    """Return what no erasure may change: routers' days, octets by period of all users, sessions but for names."""
    return {
        "days": days(connection),
        "periods": connection.execute(
            "SELECT period_start, sum(bytes_in), sum(bytes_out) FROM user_quota_usage GROUP BY 1 ORDER BY 1"
        ).fetchall(),
        "others": sorted((key, value) for key, value in users(connection).items() if key[0] == "bob"),
        "sessions": connection.execute(
            """SELECT radacctid, acctuniqueid, router_id, nasipaddress, acctstarttime, acctupdatetime, acctstoptime,
                      acctsessiontime, acctinputoctets, acctoutputoctets, usage_date, period_start, counted_at,
                      calledstationid, acctterminatecause, closed_by
               FROM radacct ORDER BY radacctid"""
        ).fetchall(),
        "slices": connection.execute("SELECT * FROM radmeter.session_slice ORDER BY 1, 2, 3").fetchall(),
    }


def live(database: str, name: str = NAME, months_ago: int = 0) -> None:
    """Let a user and another one have sessions over several days, with a wrap, a restart and a late packet."""
    with Packets(database) as packets:
        for user in (name, "bob"):
            about: dict[str, Any] = {
                "User_Name": user,
                "NAS_Identifier": "lobby",
                **(PERSONAL if user == name else {}),
            }
            for number in range(4):
                session = f"{user}-{MAC if user == name else ''}-{months_ago}-{number}"
                ago = DAY * (3 + 31 * months_ago)
                packets.add("Start", session, ago=ago, **about)
                packets.add("Interim-Update", session, ago=ago - DAY, Acct_Input_Octets=9_000, **about)
                packets.add("Interim-Update", session, ago=ago - DAY - 60, Acct_Input_Octets=100, **about)
                packets.add("Stop", session, ago=ago - 2 * DAY, Acct_Input_Octets=700 + number,
                            Acct_Output_Octets=11, **about)  # fmt: skip


def reject(database: str, seq: int, *pairs: tuple[str, str]) -> None:
    """Ship a packet that cannot be counted, as the shipper does."""
    store = Store(database)
    try:
        ingest(store, "rejecting", [as_json(Entry(seq, 1_700_000_000_000_000 + seq, json.dumps(pairs)))])
    finally:
        store.close()


@pytest.fixture
def planted(database: str, connection: Connection) -> str:
    """A database that has the name wherever packets and commands put it."""
    plan(connection, quota_type="weekly", anchor_day=3)
    live(database)
    # The router does not send a valid counter, in two packets of the person and one of somebody else.
    about = [(name.replace("_", "-"), str(value)) for name, value in PERSONAL.items()]
    bad = [("Acct-Status-Type", "Stop"), ("Acct-Session-Id", f"x-{MAC}"), ("NAS-IP-Address", "10.0.0.1")]
    reject(database, 1, ("User-Name", NAME), *bad, *about, ("Acct-Input-Octets", NAME))
    reject(
        database,
        2,
        ("Tmp-Octets-0", "0x" + NAME.encode().hex() + "00"),
        *bad,
        *about,
        ("Acct-Delay-Time", "no"),
    )
    reject(
        database, 3, ("User-Name", "bob"), *bad[:1], ("Acct-Input-Octets", "no"), ("Stripped-User-Name", NAME)
    )
    reject(database, 4, ("User-Name", NAME), *bad, *about, ("Acct-Input-Octets", f"<{NAME}>"))
    reject(database, 5, ("User-Name", NAME), *bad, *about, ("Acct-Input-Octets", f"<{NAME}>"))
    # An operator drops one, repairs a counter that is wrong, and issues an invoice.
    (dropped,) = connection.execute("SELECT max(id) FROM rejected_packet").fetchone() or (None,)
    assert radmeter(database, "rejected", "drop", str(dropped), "--yes").exit_code == 0
    connection.execute("UPDATE user_quota_usage SET bytes_in = bytes_in + 5 WHERE username = %s", (NAME,))
    repaired = radmeter(database, "verify", "--repair", "--yes")
    assert repaired.exit_code == 0, repaired.errors
    connection.execute(
        "INSERT INTO invoices (username, period_start, period_end, amount) VALUES (%s, '2026-01-01', '2026-02-01', 5)",
        (NAME,),
    )
    # The person has quotas, top-ups with a note, requests of operators, and has been told.
    connection.execute(
        """INSERT INTO plans (name, quota_bytes) VALUES ('small', 5);
           INSERT INTO subscriber_plans SELECT %(name)s, id FROM plans WHERE name = 'small';
           UPDATE plans SET quota_bytes = 5;
           INSERT INTO top_ups (username, bytes, note) VALUES (%(name)s, 7, 'paid by ' || %(name)s);
           INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, error)
               VALUES (1, %(name)s, 'disconnect', 'asked by ' || %(name)s, %(name)s || ' is unknown');
           SELECT radmeter.apply_quotas(ARRAY[%(name)s], true);
           UPDATE subscribers SET suspended_at = now() WHERE username = %(name)s""".replace(
            "%(name)s", sql.Literal(NAME).as_string(connection)
        ).encode()
    )
    connection.execute("ANALYZE")
    return database


def test_the_name_is_nowhere_after_an_erasure_and_no_total_has_changed(
    planted: str, connection: Connection
) -> None:
    before = totals(connection)
    where = places(connection, *PLANTED)
    # The plant is worth something: the name is in each table that people and packets write it to.
    tables = {place.rpartition(".")[0].split(" ")[0] for place in where}
    assert {
        "public.user_quota_usage", "public.subscribers", "public.rejected_packet", "public.accounting_anomaly",
        "public.audit_log", "public.invoices", "public.top_ups", "public.subscriber_plans",
        "radmeter.quota_account", "radmeter.quota_change", "radmeter.quota_notice", "radmeter.disconnect_queue",
    } <= tables  # fmt: skip
    assert any("pg_stats" in place for place in where)
    assert different(connection) == []

    done = erase(planted, "--format", "json")

    assert {place.rpartition(".")[0] for place in places(connection, *PLANTED)} == STAYS
    assert totals(connection) == before
    assert different(connection) == []
    pseudonym = done.json()["pseudonym"]
    assert done.json()["came_back"] == []
    assert [row["kind"] for row in done.json()["kept"]] == ["invoices"]
    assert connection.execute(
        "SELECT plan_id IS NOT NULL FROM subscribers WHERE username = %s", (pseudonym,)
    ).fetchone() == (True,)
    assert radmeter(planted, "users", "list", "--format", "json").json() == []
    assert pseudonym not in radmeter(planted, "quota", "over").output
    assert [row["users"] for row in radmeter(planted, "plans", "list", "--format", "json").json()] == [0, 0]
    (line,) = connection.execute("SELECT who, detail FROM audit_log WHERE action = 'people erase'").fetchall()
    assert line[0] == "postgres"
    assert line[1]["pseudonym"] == pseudonym
    assert line[1]["rows"]["radacct"] == 4
    assert line[1]["rows"] == done.json()["rows"]
    assert connection.execute("SELECT FROM radmeter.erasure").fetchone() is None
    # The money goes on, also for what is looked at later.
    assert connection.execute("SELECT username, bytes, note FROM top_ups").fetchall() == [
        (pseudonym, 7, None)
    ]
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    assert {place.rpartition(".")[0] for place in places(connection, *PLANTED)} == STAYS


def test_every_column_of_a_session_is_judged(connection: Connection) -> None:
    """A column that is added to radacct must be put into one of these lists: erased, or harmless."""
    erased = {
        "username", "acctsessionid", "realm", "nasportid", "connectinfo_start", "connectinfo_stop",
        "callingstationid", "framedipaddress", "framedipv6address", "framedipv6prefix", "framedinterfaceid",
        "delegatedipv6prefix", "class",
    }  # fmt: skip
    harmless = {
        "acctuniqueid", "nasipaddress", "nasporttype", "acctauthentic", "calledstationid", "acctterminatecause",
        "servicetype", "framedprotocol", "closed_by", "router_mac",
    }  # fmt: skip
    columns = {column for table, column, _ in textual_columns(connection) if table == "public.radacct_open"}
    assert columns == erased | harmless


def test_a_packet_that_was_rejected_is_counted_for_the_pseudonym_after_a_fix(
    planted: str, connection: Connection
) -> None:
    """It belongs to the same session as before, although its unique id is made from the name."""
    ids = [row[0] for row in connection.execute("SELECT id FROM rejected_packet ORDER BY id")]
    with Packets(planted) as packets:
        packets.add("Interim-Update", f"x-{MAC}", User_Name=NAME, Acct_Input_Octets=5, **PERSONAL)
        packets.ship()
        packets.add("Stop", f"x-{MAC}", User_Name=NAME, Acct_Input_Octets=5, **PERSONAL)
    pseudonym = erase(planted, "--format", "json").json()["pseudonym"]
    # The fix of a router's packet is a new version of radmeter. Here the wrong value is made right.
    connection.execute(
        """UPDATE rejected_packet SET pairs = replace(pairs::text, '"no"', '"0"')::json WHERE id = %s""",
        (ids[1],),
    )
    before = connection.execute("SELECT count(*) FROM radacct").fetchone()
    retried = radmeter(planted, "rejected", "retry", str(ids[1]))
    assert retried.exit_code == 0, retried.errors
    assert retried.output == "1 packet counted, 0 stay\n"
    assert connection.execute("SELECT count(*) FROM radacct").fetchone() == before
    assert connection.execute("SELECT DISTINCT username FROM radacct ORDER BY 1").fetchall() == [
        ("bob",), (pseudonym,)
    ]  # fmt: skip
    assert different(connection) == []


@pytest.mark.parametrize("name", ["12", "date"])
def test_a_rejected_packet_of_a_short_name_counts_the_same_octets_after_an_erasure(
    database: str, connection: Connection, name: str
) -> None:
    """The name is part of the status, of numbers and of addresses, and those are no name."""
    about = [("Acct-Status-Type", "Interim-Update"), ("User-Name", name), ("NAS-IP-Address", "10.0.12.1")]
    about += [("Acct-Input-Octets", "5123"), ("Acct-Output-Octets", "12"), ("NAS-Identifier", "art 12")]
    reject(database, 1, *about, ("Acct-Session-Id", "s12"), ("Acct-Session-Time", "none"))
    reject(database, 2, *about[:1], ("User-Name", "bob"), *about[2:], ("Acct-Session-Id", "12"),
           ("Acct-Session-Time", "none"))  # fmt: skip
    pseudonym = erase(database, "--format", "json", name=name).json()["pseudonym"]
    connection.execute("UPDATE rejected_packet SET pairs = replace(pairs::text, '\"none\"', '\"12\"')::json")
    retried = radmeter(database, "rejected", "retry", "--all")
    assert retried.output == "2 packets counted, 0 stay\n"
    assert connection.execute(
        """SELECT username, acctsessionid, acctinputoctets, acctoutputoctets, host(nasipaddress)
           FROM radacct ORDER BY username"""
    ).fetchall() == [("bob", "12", 5123, 12, "10.0.12.1"), (pseudonym, "erased", 5123, 12, "10.0.12.1")]
    assert connection.execute("SELECT nas_identifier FROM routers").fetchall() == [("art 12",)]
    assert sorted(users(connection).values()) == [(5123, 12), (5123, 12)]


def test_a_pseudonym_is_random_and_never_the_same_again(database: str, connection: Connection) -> None:
    pseudonyms: set[str] = set()
    for _ in range(3):
        live(database, months_ago=len(pseudonyms))
        pseudonyms.add(erase(database, "--format", "json").json()["pseudonym"])
    assert len(pseudonyms) == 3
    assert all(len(each) == len("erased-") + 32 for each in pseudonyms)
    assert {user for user, _ in users(connection)} == pseudonyms | {"bob"}
    assert different(connection) == []


def test_usage_of_dropped_months_is_renamed(database: str, connection: Connection) -> None:
    connection.execute("SELECT radmeter.ensure_partition(now() - interval '3 months')")
    live(database, months_ago=3)
    live(database)
    gone = connection.execute(
        "SELECT relid::regclass::text FROM radmeter.partitions WHERE to_at < now() - interval '40 days'"
    ).fetchall()
    assert gone
    for (table,) in gone:
        connection.execute(f"DROP TABLE {table}")
    before = {key[1]: value for key, value in users(connection).items() if key[0] == NAME}
    pseudonym = erase(database, "--format", "json").json()["pseudonym"]
    assert {key[1]: value for key, value in users(connection).items() if key[0] == pseudonym} == before
    assert places(connection, *PLANTED) == set()


def test_a_session_from_while_the_triggers_were_off(database: str, connection: Connection) -> None:
    """It has no day and no period of its own, and verify --repair has counted it."""
    live(database)
    connection.execute("ALTER TABLE radacct DISABLE TRIGGER USER")
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,
                                acctstoptime, acctinputoctets, acctoutputoctets)
           VALUES ('off', 'off', %s, '10.0.0.9', now() - interval '2 hours', now() - interval '1 hour',
                   now() - interval '1 hour', 50, 7)""",
        (NAME,),
    )
    connection.execute("ALTER TABLE radacct ENABLE TRIGGER USER")
    assert radmeter(database, "verify", "--repair", "--yes").exit_code == 0
    assert different(connection) == []
    assert erase(database).exit_code == 0
    assert different(connection) == []
    assert places(connection, *PLANTED) == set()


def test_an_unknown_name_is_an_error(database: str) -> None:
    for command in ("show", "erase"):
        result = radmeter(database, "people", command, "nobody", *(["--yes"] if command == "erase" else []))
        assert result.exit_code == 1
        assert result.errors == (
            "error: nothing here has the user name 'nobody', written exactly so. "
            "`radmeter usage users` lists users\n"
        )


def test_an_operators_columns_in_subscribers_go_with_the_row(database: str, connection: Connection) -> None:
    plan(connection)
    connection.execute("ALTER TABLE subscribers ADD COLUMN email text")
    connection.execute("UPDATE subscribers SET email = %s", (NAME,))
    assert erase(database).exit_code == 0
    assert connection.execute("SELECT left(username, 7), email FROM subscribers").fetchall() == [
        ("erased-", None)
    ]


LAST_YEAR = datetime(2024, 3, 31, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize("counted", ["before", "half", "after"])
def test_history_of_an_adopted_table(database: str, connection: Connection, counted: str) -> None:
    """What the backfill counts is the same, whenever the person is erased."""
    make_legacy(connection)
    plan(connection, quota_type="weekly", anchor_day=3, timezone="America/New_York")
    hour = timedelta(hours=1)
    for number in range(6):
        at = LAST_YEAR + 24 * hour * number
        put(connection, f"a{number}", username=NAME if number % 2 else "bob", start=at - hour, update=at, stop=at,
            octets=(100 + number, 10), callingstationid=MAC if number % 2 else None)  # fmt: skip
    now = datetime.now(UTC)
    put(connection, "open", username=NAME, start=now - hour, update=now - hour / 2, octets=(40, 4))
    with Packets(database) as packets:
        packets.add("Stop", "another", User_Name=NAME, Acct_Input_Octets=70, **PERSONAL)
    connection.execute(
        "UPDATE radacct SET acctstoptime = acctupdatetime, acctinputoctets = 45 WHERE acctuniqueid = 'open'"
    )
    counters = users(connection)
    if counted == "half":
        backfill.begin(connection)
        backfill.count(connection, 1, 4)
    elif counted == "after":
        assert radmeter(database, "backfill", "--yes").exit_code == 0
        assert different(connection) == []
        counters = users(connection)
    done = erase(database, "--format", "json")
    pseudonym = done.json()["pseudonym"]
    assert radmeter(database, "backfill", "--yes").exit_code == 0
    assert different(connection) == []
    assert places(connection, *PLANTED) == set()
    found = users(connection)
    if counted == "after":
        assert found == {
            (pseudonym if user == NAME else user, period): octets
            for (user, period), octets in counters.items()
        }
    assert (
        sum(octets[0] for (user, _), octets in found.items() if user == pseudonym)
        == 101 + 103 + 105 + 45 + 70
    )
    assert sum(octets[0] for (user, _), octets in found.items() if user == "bob") == 100 + 102 + 104


def test_an_archive_is_listed_and_a_restore_is_followed_by_another_erasure(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute("SELECT radmeter.ensure_partition('2026-03-10Z')")
    sessions_of(database, connection, "2026-03")
    shown = radmeter(database, "people", "show", "user1", "--format", "json").json()
    assert "archive" not in {row["kind"] for row in shown}
    tmp_path.chmod(0o755)
    archived = radmeter(database, "partitions", "archive", "--before", "2026-05", "--to", tmp_path, "--yes")
    assert archived.exit_code == 0, archived.errors
    (file,) = tmp_path.iterdir()
    shown = radmeter(database, "people", "show", "user1", "--format", "json").json()
    (archive,) = (row for row in shown if row["kind"] == "archive")
    assert archive["place"] == str(file)
    # user1 is each seventh of 40 sessions, from the second on.
    assert archive["number"] == 6
    before = totals(connection)
    done = erase(database, "--format", "json", name="user1").json()
    assert [row["place"] for row in done["kept"]] == [str(file)]
    assert totals(connection)["days"] == before["days"]

    assert radmeter(database, "partitions", "restore", file, "--yes").exit_code == 0
    again = erase(database, "--format", "json", name="user1").json()
    assert again["rows"]["radacct"] == 6
    assert places(connection, "user1") == set()
    assert totals(connection)["days"] == before["days"]
    # The usage is still under the first pseudonym, since nothing says that both are the same person.
    assert {row.username for row in different(connection)} == {done["pseudonym"], again["pseudonym"]}
    assert radmeter(database, "verify", "--repair", "--yes").exit_code == 0
    assert different(connection) == []
