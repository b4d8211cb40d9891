"""What radmeter.authorize answers: refusals, limits in each vendor's attributes, sessions that count, timeouts."""

import os
from pathlib import Path

import psycopg
import pytest
from support.commands import Packets
from support.servers import Connection, Server

from radmeter.schema import upgrade

MB = 10**6
GIB = 2**30
# Where FreeRADIUS's package has its dictionaries.
DICTIONARIES = Path("/usr/share/freeradius")
ACCESS_POINT = "02-00-00-00-00-01"
PHONE, LAPTOP, TABLET = "aa-00-00-00-00-01", "aa-00-00-00-00-02", "aa-00-00-00-00-03"


@pytest.fixture
def plan(connection: Connection) -> int:
    row = connection.execute(
        "INSERT INTO plans (name, quota_bytes) VALUES ('basic', %s) RETURNING id", (5 * GIB,)
    ).fetchone()
    assert row is not None
    connection.execute("INSERT INTO subscribers (username, plan_id) VALUES ('bob', %s)", (row[0],))
    return int(row[0])


def login(
    connection: Connection, username: str | bytes = "bob", *, at: str = ACCESS_POINT, device: str = PHONE
) -> dict[str, str]:
    """Return the attributes of the answer, without the Class and the interim interval."""
    octets = username.encode() if isinstance(username, str) else username
    rows = connection.execute(
        "SELECT attribute, value FROM radmeter.authorize(%s, '', %s, %s, '', '192.0.2.1')",
        (octets.hex(), at.encode().hex(), device.encode().hex()),
    ).fetchall()
    return {name: value for name, value in rows if name not in ("Class", "Acct-Interim-Interval")}


def router(connection: Connection, vendor: str, *, secret: str | None = None, swapped: bool = False) -> None:
    connection.execute(
        """INSERT INTO radmeter.router_coa (router_id, vendor, secret, swapped)
           SELECT radmeter.add_router('lobby', %s::macaddr, NULL, NULL, NULL), %s, %s, %s""",
        (ACCESS_POINT, vendor, secret, swapped),
    )


def use(database: str, octets: int, *, device: str = PHONE, at: str = ACCESS_POINT, ago: float = 0) -> None:
    with Packets(database) as packets:
        packets.add(
            "Interim-Update",
            f"s-{device}",
            User_Name="bob",
            Called_Station_Id=at,
            Calling_Station_Id=device,
            ago=ago,
            Acct_Input_Gigawords=octets >> 32,
            Acct_Input_Octets=octets & 0xFFFFFFFF,
        )


def limits(answer: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in answer.items() if "Timeout" not in name and "Tmp" not in name}


def test_64_bit_limits_are_split(connection: Connection, plan: int) -> None:
    router(connection, "mikrotik")
    for octets, low, high in ((5 * GIB, GIB, 1), (4 * GIB, 0, 1), (3 * GIB, 3 * GIB, 0), (1, 1, 0)):
        connection.execute("UPDATE plans SET quota_bytes = %s", (octets,))
        assert limits(login(connection)) == {
            "Mikrotik-Total-Limit": str(low),
            "Mikrotik-Total-Limit-Gigawords": str(high),
        }


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        ("mikrotik", "Total-Limit 1073741824 +1, Recv-Limit 5 +0, Xmit-Limit 7 +1, Rate-Limit 1500000/8000000"),
        ("chilli", "Max-Total 1073741824 +0x00000001, Max-Input 5 +0x00000000, "
         "Max-Output 7 +0x00000001, kbit/s 1500 8000"),
        ("generic", "WISPr 1500000 8000000"),
        ("cambium", "Total 1073741824 +1, Up 5 +0, Down 7 +1, WISPr 1500000 8000000"),
        ("ruckus", "WISPr 1500000 8000000"),
        ("unifi", "WISPr 1500000 8000000"),
        ("meraki", ""),
        ("aruba", ""),
        ("cisco", ""),
        ("huawei", "Remanent-Volume 5242880, Average 1500000 8000000, Peak 1500000 8000000"),
    ],
)  # fmt: skip
def test_each_vendor_gets_its_own_attributes(
    connection: Connection, plan: int, vendor: str, expected: str
) -> None:
    connection.execute(
        """UPDATE plans SET quota_bytes_in = 5, quota_bytes_out = 4294967296 + 7, speed_up = 1500000,
           speed_down = 8000000"""
    )
    router(connection, vendor)
    found = limits(login(connection))
    assert brief(found) == expected


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        ("mikrotik", [("Mikrotik-Group", "ROLE")]),
        ("generic", [("Filter-Id", "ROLE")]),
        ("meraki", [("Filter-Id", "ROLE")]),
        ("aruba", [("Aruba-User-Role", "ROLE")]),
        ("cisco", [("Cisco-AVPair", "ip:sub-qos-policy-in=ROLE"), ("Cisco-AVPair", "ip:sub-qos-policy-out=ROLE")]),
        ("chilli", []),
        ("cambium", []),
    ],
)  # fmt: skip
def test_a_role_is_that_of_the_tier_in_force_or_of_the_plan(
    database: str, connection: Connection, plan: int, vendor: str, expected: list[tuple[str, str]]
) -> None:
    """It is how meraki, aruba and cisco slow users down. Speeds and octets of other vendors are not looked at here."""

    def roles() -> list[tuple[str, str]]:
        rows = connection.execute(
            "SELECT attribute, value FROM radmeter.authorize(%s, '', %s, '', '', '192.0.2.1')",
            (b"bob".hex(), ACCESS_POINT.encode().hex()),
        ).fetchall()
        return [row for row in rows if row[0] in names]

    names = {"Mikrotik-Group", "Filter-Id", "Aruba-User-Role", "Cisco-AVPair"}
    router(connection, vendor)
    assert roles() == []
    connection.execute("UPDATE plans SET role = 'gold/1'")
    connection.execute(
        "INSERT INTO plan_tiers VALUES (%s, 1000, 500000, 500000, 'slow lane'), (%s, 2000, 8000, 8000, NULL)",
        (plan, plan),
    )
    for used, role in ((0, "gold/1"), (1000, "slow lane"), (2000, "gold/1")):
        use(database, used)
        assert roles() == [(name, value.replace("ROLE", role)) for name, value in expected], used


def brief(found: dict[str, str]) -> str:
    """Write attributes in one line: a limit with its upper 32 bits, and speeds of both directions together."""
    words: list[str] = []
    speeds: dict[str, list[str]] = {}
    for name, value in sorted(
        found.items(), key=lambda item: ("Total" not in item[0], "Volume" not in item[0])
    ):
        short = name.removeprefix("Mikrotik-").removeprefix("Huawei-").removeprefix("ChilliSpot-")
        short = short.removeprefix("Cambium-Traffic-Quota-Limit-").removesuffix("-Octets")
        if "Gig" in name or name.startswith("Attr-26."):
            continue
        if short.endswith(("-Rate", "-Max-Up", "-Max-Down")):
            kind = {"Bandwidth": "kbit/s", "WISPr": "WISPr", "Input": "", "Output": ""}[short.split("-")[0]]
            speeds.setdefault(kind or short.split("-")[1], []).append(value)
            continue
        upper = {
            "Max-Total": "Attr-26.14559.23", "Max-Input": "Attr-26.14559.21", "Max-Output": "Attr-26.14559.22"
        }.get(short)  # fmt: skip
        upper = upper or next((other for other in found if other.startswith(f"{name}-Gig")), None)
        words.append(f"{short} {value}" + (f" +{found[upper]}" if upper else ""))
    words += [f"{kind} {' '.join(values)}" for kind, values in speeds.items()]
    return ", ".join(words)


def test_every_attribute_is_in_freeradius_own_dictionaries(connection: Connection) -> None:
    known = {
        parts[1]: parts[3]
        for file in DICTIONARIES.glob("dictionary.*")
        for line in file.read_text(errors="replace").splitlines()
        if len(parts := line.split()) > 3 and parts[0] == "ATTRIBUTE"
    }
    rows = connection.execute(
        "SELECT attribute, gigawords_attribute, unit FROM radmeter.vendor_attributes()"
    ).fetchall()
    assert len(rows) > 20
    for attribute, gigawords, unit in rows:
        is_text = unit == "mikrotik" or unit.startswith("text:")
        assert known[attribute] == ("string" if is_text else "integer"), attribute
        if gigawords is not None and not gigawords.startswith("Attr-26."):
            assert known[gigawords] == "integer", gigawords


def test_a_router_with_coa_gets_only_what_coa_can_change(connection: Connection, plan: int) -> None:
    connection.execute("UPDATE plans SET quota_bytes_in = 5, speed_up = 1000000, speed_down = 2000000")
    router(connection, "mikrotik", secret="x")
    always = login(connection)
    connection.execute("SELECT radmeter.set_login_setting('octet_limits', 'changeable')")
    answer = login(connection)
    assert limits(answer) == {
        "Mikrotik-Recv-Limit": "5",
        "Mikrotik-Recv-Limit-Gigawords": "0",
        "Mikrotik-Rate-Limit": "1000000/2000000",
    }
    assert limits(always) == limits(answer) | {
        "Mikrotik-Total-Limit": str(GIB),
        "Mikrotik-Total-Limit-Gigawords": "1",
    }
    # The period's end is no reason to end the session.
    assert "Session-Timeout" not in answer
    assert "Session-Timeout" not in always


def test_at_a_router_that_is_silent_the_login_is_the_net(connection: Connection, plan: int) -> None:
    """No request reaches it, as behind NAT: then the limits of the login are all there is."""
    router(connection, "mikrotik", secret="x")
    connection.execute("SELECT radmeter.set_login_setting('octet_limits', 'changeable')")
    connection.execute(
        "INSERT INTO radmeter.router_coa_state (router_id) SELECT router_id FROM radmeter.router_coa"
    )
    for silent, net in (
        ("NULL", False),
        ("now() - interval '9 minutes'", False),
        ("now() - interval '1 day'", True),
    ):
        connection.execute(f"UPDATE radmeter.router_coa_state SET silent_since = {silent}".encode())
        answer = login(connection)
        assert ("Mikrotik-Total-Limit" in answer, "Session-Timeout" in answer) == (net, net)


def test_a_router_that_means_the_other_direction(connection: Connection, plan: int) -> None:
    connection.execute(
        "UPDATE plans SET quota_bytes_in = 5, quota_bytes_out = 7, speed_up = 1000, speed_down = 2000"
    )
    router(connection, "mikrotik", swapped=True)
    found = limits(login(connection))
    assert (found["Mikrotik-Recv-Limit"], found["Mikrotik-Xmit-Limit"]) == ("7", "5")
    assert found["Mikrotik-Rate-Limit"] == "2000/1000"
    assert found["Mikrotik-Total-Limit-Gigawords"] == "1"


def test_users_are_refused_with_the_operators_text(connection: Connection, database: str, plan: int) -> None:
    def refused() -> tuple[str | None, str | None]:
        answer = login(connection)
        assert set(answer) <= {"Tmp-String-9", "Reply-Message"} or answer["Tmp-String-9"] == "accept"
        return answer["Tmp-String-9"], answer.get("Reply-Message")

    assert refused() == ("accept", None)
    connection.execute("UPDATE subscribers SET suspended_at = now()")
    assert refused() == ("suspended", "'Your account is suspended.'")
    connection.execute("UPDATE subscribers SET suspended_at = NULL")
    connection.execute("UPDATE plans SET quota_bytes = 0")
    assert refused() == ("over", "'Your data allowance is used up.'")
    text = 'Votre forfait n\'est plus valable: c:\\ "100 %" `id` %{User-Name} für alle'
    for name, value in (("message_over", text), ("message_expired", "`id`")):
        assert connection.execute("SELECT radmeter.set_login_setting(%s, %s)", (name, value)).fetchone() == (
            True,
        )
    assert refused() == ("over", "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'")
    connection.execute("UPDATE plans SET quota_bytes = NULL, valid_seconds = 60")
    connection.execute("UPDATE subscribers SET first_used_at = now() - interval '1 hour'")
    assert refused() == ("expired", "'`id`'")
    connection.execute("UPDATE plans SET valid_seconds = NULL, quota_seconds = 0")
    assert refused() == ("time", "'Your online time is used up.'")


def test_a_user_who_is_no_subscriber(connection: Connection, plan: int) -> None:
    router(connection, "mikrotik")
    assert login(connection, "eve") == {"Tmp-String-9": "accept"}
    connection.execute("SELECT radmeter.set_login_setting('unknown_users', 'refuse')")
    assert login(connection, "eve") == {
        "Tmp-String-9": "unknown",
        "Reply-Message": "'You have no plan here.'",
    }


def test_settings_are_checked(connection: Connection) -> None:
    for name, value, why in (
        ("message_over", "x" * 254, "a line of 1 to 253 octets"),
        ("message_over", "ü" * 127, "a line of 1 to 253 octets"),
        ("message_over", "two\nlines", "a line of 1 to 253 octets"),
        ("interim_seconds", "59", "a number of seconds from 60 to 86400"),
        ("unknown_users", "maybe", "admit or refuse"),
        ("octet_limits", "never", "changeable or always"),
        ("no_such", "1", "there is no login setting"),
    ):
        with pytest.raises(psycopg.Error, match=why) as raised:
            connection.execute("SELECT radmeter.set_login_setting(%s, %s)", (name, value))
        assert raised.value.sqlstate == "RM001"
    assert connection.execute("SELECT radmeter.set_login_setting('interim_seconds', '600')").fetchone() == (
        True,
    )
    assert connection.execute("SELECT radmeter.set_login_setting('interim_seconds', NULL)").fetchone() == (
        True,
    )
    assert connection.execute("SELECT radmeter.set_login_setting('interim_seconds', '300')").fetchone() == (
        False,
    )
    assert connection.execute(
        "SELECT count(*) FROM audit_log WHERE action = 'login setting'"
    ).fetchone() == (2,)  # fmt: skip


def test_names_find_their_counters(connection: Connection, database: str, plan: int) -> None:
    """As ingest writes them, whatever octets they have."""
    texts = ["o'brien", "bob+x@e.com", "a\\b", "ümlaut", "`id`", "%{User-Name}", '"', " a b "]
    names = [*(text.encode() for text in texts), b"M\xfcller"]
    for name in names:
        text = name.decode(errors="backslashreplace")
        connection.execute("INSERT INTO subscribers (username, plan_id) VALUES (%s, %s)", (text, plan))
        assert login(connection, name)["Tmp-String-9"] == "accept"
        with Packets(database) as packets:
            packets.add("Stop", f"s{name!r}", User_Name=text, NAS_Identifier="lobby", Acct_Input_Gigawords=2,
                        Acct_Input_Octets=0)  # fmt: skip
        assert login(connection, name)["Tmp-String-9"] == "over", name


def test_what_is_left_is_shared_with_other_devices(connection: Connection, database: str, plan: int) -> None:
    router(connection, "mikrotik")
    connection.execute("UPDATE plans SET quota_bytes = 9000000, max_sessions = 2")
    use(database, 1 * MB)
    assert login(connection, device=LAPTOP)["Mikrotik-Total-Limit"] == "4000000"
    # The same device replaces its session, also at another access point.
    assert login(connection, device=PHONE)["Mikrotik-Total-Limit"] == "8000000"
    assert "Mikrotik-Total-Limit" not in login(connection, device="AA:00:00:00:00:01", at="02-00-00-00-00-09")
    use(database, 1 * MB, device=LAPTOP)
    assert login(connection, device=TABLET) == {
        "Tmp-String-9": "sessions",
        "Reply-Message": "'You are logged in on as many devices as your plan allows.'",
    }
    assert login(connection, device=LAPTOP)["Tmp-String-9"] == "accept"
    # A session without packets for too long locks nobody out, even before the reaper has closed it.
    connection.execute("UPDATE radacct SET arrived_at = now() - interval '1 hour' WHERE acctstoptime IS NULL")
    assert login(connection, device=TABLET)["Mikrotik-Total-Limit"] == "7000000"


def test_a_tier_in_force_and_the_next_one(connection: Connection, database: str, plan: int) -> None:
    connection.execute("UPDATE plans SET quota_bytes = NULL, speed_up = 5000000, speed_down = 9000000")
    connection.execute(
        "INSERT INTO plan_tiers VALUES (%(p)s, 10000000, 1000000, 2000000), (%(p)s, 20000000, NULL, NULL)",
        {"p": plan},
    )
    router(connection, "chilli")
    # Without CoA the session ends where the next tier begins.
    assert brief(limits(login(connection))) == "Max-Total 10000000 +0x00000000, kbit/s 5000 9000"
    connection.execute("UPDATE radmeter.router_coa SET secret = 'x'")
    assert brief(limits(login(connection))) == "Max-Total 20000000 +0x00000000, kbit/s 5000 9000"
    use(database, 12 * MB)
    assert brief(limits(login(connection))) == "Max-Total 8000000 +0x00000000, kbit/s 1000 2000"
    use(database, 20 * MB)
    assert login(connection)["Tmp-String-9"] == "over"


def test_the_session_ends_with_what_ends_first(connection: Connection, plan: int) -> None:
    def timeout() -> int:
        return int(login(connection)["Session-Timeout"])

    row = connection.execute(
        "SELECT extract(epoch FROM period_ends_at - now()) FROM radmeter.quota_state('{bob}', now())"
    ).fetchone()
    assert row is not None
    # The period, and up to a minute, so that not all users come back at once.
    assert float(row[0]) - 5 < timeout() < float(row[0]) + 64
    assert timeout() - timeout() in (0, 1)
    for change, seconds in (
        ("quota_seconds = 7000", 7000),
        ("valid_seconds = 3000", 3000),
        ("session_timeout = 1000, idle_timeout = 50", 1000),
    ):
        connection.execute(f"UPDATE plans SET {change}".encode())
        assert seconds - 5 <= timeout() <= seconds
    answer = login(connection)
    assert (answer["Tmp-Integer-9"], answer["Idle-Timeout"]) == ("1000", "50")


def test_the_first_login_begins_the_validity(connection: Connection, plan: int) -> None:
    connection.execute("UPDATE plans SET valid_seconds = 3600")
    connection.execute("UPDATE subscribers SET suspended_at = now()")
    begun = "SELECT first_used_at IS NOT NULL FROM subscribers"
    login(connection)
    assert connection.execute(begun).fetchone() == (False,), "refused"
    connection.execute("UPDATE subscribers SET suspended_at = NULL")
    assert login(connection)["Session-Timeout"] == "3600"
    assert connection.execute(begun).fetchone() == (True,)
    first = connection.execute("SELECT first_used_at FROM subscribers").fetchone()
    login(connection)
    assert connection.execute("SELECT first_used_at FROM subscribers").fetchone() == first


def test_the_role_may_ask_and_nothing_else(connection: Connection, plan: int) -> None:
    connection.execute("SET SESSION AUTHORIZATION radmeter_login")
    try:
        assert login(connection)["Tmp-String-9"] == "accept"
        assert connection.execute("SELECT * FROM public.radcheck").fetchall() == []
        for statement in (
            "SELECT * FROM subscribers",
            "SELECT * FROM radmeter.setting",
            "SELECT radmeter.quota_state('{bob}', now())",
            "INSERT INTO radcheck (username) VALUES ('x')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    finally:
        connection.execute("RESET SESSION AUTHORIZATION")


def test_the_indexes_serve_a_login(connection: Connection, plan: int) -> None:
    """No table that grows is read as a whole."""
    connection.execute(
        """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime)
           SELECT n::text, n::text, 'user' || n, '192.0.2.1', now() FROM generate_series(1, 3000) AS n;
           INSERT INTO subscribers (username, plan_id)
           SELECT 'user' || n, (SELECT id FROM plans) FROM generate_series(1, 3000) AS n;
           ANALYZE"""
    )
    scans = "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables WHERE seq_tup_read > 100 ORDER BY 1"
    with connection.transaction():
        login(connection, "user77")
        assert connection.execute(scans).fetchall() == []


def test_a_login_costs_the_server_little(connection: Connection, plan: int) -> None:
    """Processor time of the server process, which other load does not change. Planning once took 0.7 s a call."""

    def seconds() -> float:
        fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))

    login(connection)
    before = seconds()
    for _ in range(50):
        login(connection)
    assert (seconds() - before) / 50 < 0.03


def test_by_the_class_of_its_login_a_session_is_one_whatever_the_routers_address(
    database: str, connection: Connection, plan: int
) -> None:
    """Of a router that shows no MAC, each address would otherwise begin another session, whose total counts whole."""
    asked = "SELECT value, op FROM radmeter.authorize(%s, '', '', '', '', '') WHERE attribute = 'Class'"
    ((value, op),) = connection.execute(asked, (b"bob".hex(),)).fetchall()
    assert op == "=", "a Class of the server's own stays"
    with Packets(database) as packets:
        for ago, (address, octets) in zip((30, 20, 10), (("9", 1000), ("8", 2000), ("7", 3000)), strict=True):
            packets.add("Interim-Update", "s1", User_Name="bob", Class=f"0x{value.encode().hex()}", ago=ago,
                        NAS_IP_Address=f"192.0.2.{address}", Acct_Input_Octets=octets)  # fmt: skip
    assert connection.execute("SELECT count(*), sum(acctinputoctets) FROM radacct").fetchone() == (1, 3000)
    assert connection.execute("SELECT bytes_in FROM user_quota_usage").fetchall() == [(3000,)]
    connection.execute("SELECT radmeter.set_login_setting('class', 'off')")
    assert connection.execute(asked, (b"bob".hex(),)).fetchall() == []


def test_a_radcheck_of_freeradius_stays_its_owners(server: Server) -> None:
    with server.clone("template1") as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE ROLE freeradius_in_test; GRANT CREATE ON SCHEMA public TO freeradius_in_test"
        )
        try:
            connection.execute(
                """SET ROLE freeradius_in_test;
                   CREATE TABLE public.radcheck (id serial PRIMARY KEY, UserName text, Value varchar(64));
                   RESET ROLE"""
            )
            upgrade.upgrade(dsn)
            assert connection.execute(
                "SELECT relowner::regrole::text, relacl FROM pg_class WHERE oid = 'public.radcheck'::regclass"
            ).fetchone() == ("freeradius_in_test", None)
        finally:
            connection.execute("DROP OWNED BY freeradius_in_test; DROP ROLE freeradius_in_test")
