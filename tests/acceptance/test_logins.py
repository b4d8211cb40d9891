"""Logins for real: radclient, FreeRADIUS with the policy radmeter_quota, its modules sql and cache, and PostgreSQL."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.commands import Packets, Result, radmeter
from support.processes import Child, Database, FreeRadius, eventually, free_port
from support.radius_login import Answer, login
from support.servers import Server

from radmeter import resources
from radmeter.freeradius.install_logins import shared

GIB = 2**30
NAMES = [b"o'brien", b"bob+x@e.com", b"a\\b", "ümlaut".encode(), b"`id`", b"%{User-Name}", b'"', b"$(id)",
         b"a=b c", b"M\xfcller"]  # fmt: skip
AWAY = "the database does not answer logins"
BACK = "the database answers logins again"


def text_of(name: bytes) -> str:
    """The name as ingest writes it."""
    return name.decode(errors="backslashreplace")


class Site:
    """FreeRADIUS with logins, and its database."""

    def __init__(self, server: FreeRadius, database: Database) -> None:
        self.server = server
        self.database = database

    def login(self, username: str | bytes, password: str | None = "secret", **attributes: str) -> Answer:
        assert self.server.logins is not None
        return login(("127.0.0.1", self.server.logins.auth_port), username, password, **attributes)

    def user(self, username: str, plan: str = "basic") -> None:
        with psycopg.connect(self.database.dsn, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO subscribers (username, plan_id) SELECT %s, id FROM plans WHERE name = %s",
                (username, plan),
            )
            connection.execute(
                """INSERT INTO radcheck (username, attribute, op, value)
                   VALUES (%s, 'Cleartext-Password', ':=', 'secret')""",
                (username,),
            )

    def use(self, username: str, octets: int, status: str = "Interim-Update", session: str = "s1") -> None:
        with Packets(self.database.dsn) as packets:
            packets.add(status, f"{session}-{username}", User_Name=username, NAS_Identifier="mikrotik",
                        Calling_Station_Id="aa-00-00-00-00-01", Acct_Input_Gigawords=octets >> 32,
                        Acct_Input_Octets=octets & 0xFFFFFFFF)  # fmt: skip

    def command(self, *arguments: str) -> Result:
        """`radmeter cache` with these arguments."""
        return self._run(None, "cache", *arguments)

    def on_this_machine(self, *arguments: str) -> Result:
        """A command that finds both the database and FreeRADIUS."""
        return self._run(self.database.dsn, *arguments)

    def _run(self, dsn: str | None, *arguments: str) -> Result:
        assert self.server.logins is not None
        place = {
            "RADMETER_CACHE_PORT": str(self.server.logins.cache_port),
            "RADMETER_CACHE_SECRET": "testing123",
        }
        return radmeter(dsn, *arguments, **place)

    def cache(self) -> tuple[int, ...]:
        """Users, hits, misses, stored and dropped, as `radmeter cache status` shows them."""
        shown = self.command("status", "--format", "json").json()
        assert 0 <= shown.pop("age_seconds") < 100
        return tuple(shown.values())

    def warnings(self) -> list[str]:
        """What the policy has logged."""
        log = self.server.run_directory / "radius.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.partition("Warning: radmeter: ")[2] for line in lines if "Warning: radmeter: " in line]


SETUP = """
INSERT INTO plans (name, quota_bytes, speed_up, speed_down) VALUES
    ('basic', 5368709120, 1500000, 8000000), ('zero', 0, NULL, NULL), ('small', 10000000, NULL, NULL);
INSERT INTO plans (name, valid_seconds) VALUES ('voucher', 3600);
INSERT INTO plans (name, quota_bytes_in, quota_bytes_out) VALUES ('separate', 5, 4294967303);
CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;
INSERT INTO radmeter.router_coa (router_id, vendor)
SELECT radmeter.add_router(vendor, NULL, vendor, NULL, NULL), vendor
FROM unnest('{mikrotik,chilli,generic,cambium,ruckus,unifi,meraki,aruba,cisco,huawei}'::text[]) AS vendor
"""


def dsn_of(database: Database) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(database.dsn) | {"user": "freeradius_login"}
    return psycopg.conninfo.make_conninfo(**{key: str(value) for key, value in parts.items()})


@pytest.fixture(scope="module")
def site(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """FreeRADIUS with logins for all tests of the module, which keep apart by the names of their users."""
    base = tmp_path_factory.mktemp("logins")
    with postgresql.clone() as dsn:
        database = Database(dsn)
        database.execute(SETUP)
        try:
            with FreeRadius(base / "run", base / "journal", login_dsn=dsn_of(database)) as server:
                yield Site(server.start(), database)
        finally:
            database.execute("DROP OWNED BY freeradius_login; DROP ROLE freeradius_login")


def test_names_find_their_passwords_and_counters(site: Site) -> None:
    for name in NAMES:
        site.user(text_of(name))
        site.use(text_of(name), GIB)
        answer = site.login(name, NAS_Identifier="mikrotik", Calling_Station_Id="aa-00-00-00-00-01")
        # Exactly 4 GiB are left.
        assert (answer.code, answer.limits.get("Mikrotik-Total-Limit")) == ("Access-Accept", "0"), name
        assert answer.limits["Mikrotik-Total-Limit-Gigawords"] == "1"


def test_each_vendors_attributes_as_the_router_gets_them(site: Site) -> None:
    site.user("roamer")
    site.user("roamer2", "separate")
    wispr = {"WISPr-Bandwidth-Max-Up": "1500000", "WISPr-Bandwidth-Max-Down": "8000000"}
    expected = {
        "mikrotik": {"Mikrotik-Total-Limit": str(GIB), "Mikrotik-Total-Limit-Gigawords": "1",
                     "Mikrotik-Rate-Limit": "1500000/8000000"},
        "chilli": {"ChilliSpot-Max-Total-Octets": str(GIB), "Attr-26.14559.23": "0x00000001",
                   "ChilliSpot-Bandwidth-Max-Up": "1500", "ChilliSpot-Bandwidth-Max-Down": "8000"},
        "generic": wispr,
        "cambium": wispr | {"Cambium-Traffic-Quota-Limit-Total": str(GIB),
                            "Cambium-Traffic-Quota-Limit-Total-Gigwords": "1"},
        "ruckus": wispr, "unifi": wispr, "meraki": {}, "aruba": {}, "cisco": {},
        "huawei": {"Huawei-Remanent-Volume": "5242880",
                   "Huawei-Input-Average-Rate": "1500000", "Huawei-Input-Peak-Rate": "1500000",
                   "Huawei-Output-Average-Rate": "8000000", "Huawei-Output-Peak-Rate": "8000000"},
    }  # fmt: skip
    assert {vendor: site.login("roamer", NAS_Identifier=vendor).limits for vendor in expected} == expected
    assert site.login("roamer2", NAS_Identifier="chilli").limits == {
        "ChilliSpot-Max-Input-Octets": "5", "Attr-26.14559.21": "0x00000000",
        "ChilliSpot-Max-Output-Octets": "7", "Attr-26.14559.22": "0x00000001",
    }  # fmt: skip
    assert site.login("roamer2", NAS_Identifier="mikrotik").limits == {
        "Mikrotik-Recv-Limit": "5", "Mikrotik-Recv-Limit-Gigawords": "0",
        "Mikrotik-Xmit-Limit": "7", "Mikrotik-Xmit-Limit-Gigawords": "1",
    }  # fmt: skip


def test_every_way_to_show_a_password(site: Site) -> None:
    site.user("bob")
    assert site.login("bob").accepted
    for attribute in ("CHAP_Password", "MS_CHAP_Password"):
        assert site.login("bob", None, **{attribute: "secret"}).accepted
        refused = site.login("bob", None, **{attribute: "wrong"})
        assert (refused.accepted, refused.limits.get("Reply-Message")) == (False, None)
    assert site.server.logins is not None
    done = subprocess.run(
        ["radeapclient", "-x", f"127.0.0.1:{site.server.logins.auth_port}", "auth", "testing123"],
        input="User-Name = bob\nCleartext-Password = secret\nEAP-Code = Response\nEAP-Type-Identity = bob\n"
        "Message-Authenticator = 0x00\nEAP-Id = 210\n\n",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    challenge, accept = done.stdout.split("Received Access-")[1:]
    assert challenge.startswith("Challenge")
    assert "WISPr" not in challenge
    assert accept.startswith("Accept")
    assert "WISPr-Bandwidth-Max-Up = 1500000" in accept


def test_a_wrong_password_neither_tells_nor_begins_anything(site: Site) -> None:
    site.user("guest", "voucher")
    site.user("spent", "zero")
    begun = "SELECT first_used_at IS NOT NULL FROM subscribers WHERE username = 'guest'"
    assert site.login("guest", "wrong") == Answer("Access-Reject")
    assert site.login("spent", "wrong") == Answer("Access-Reject")
    assert site.database.rows(begun) == [(False,)]
    assert site.login("guest").attributes["Session-Timeout"] == "3600"
    assert site.database.rows(begun) == [(True,)]


def test_a_refusal_has_the_operators_text_as_it_is(site: Site) -> None:
    text = "C'est fini: \\ `id` %{User-Name} für heute"
    with psycopg.connect(site.database.dsn, autocommit=True) as connection:
        connection.execute("SELECT radmeter.set_login_setting('message_over', %s)", (text,))
    site.user("poor", "zero")
    assert site.login("poor").attributes == {"Reply-Message": text.replace("\\", "\\\\")}
    site.database.execute("UPDATE subscribers SET suspended_at = now() WHERE username = 'poor'")
    assert site.login("poor").attributes == {"Reply-Message": "Your account is suspended."}


def test_a_user_over_the_limit_stays_out_until_something_changes(site: Site) -> None:
    site.user("carol", "small")
    answer = site.login("carol", NAS_Identifier="mikrotik")
    assert answer.limits["Mikrotik-Total-Limit"] == "10000000"
    site.use("carol", 12_000_000)
    for _ in range(2):
        assert not site.login("carol", NAS_Identifier="mikrotik").accepted
        site.use("carol", 12_000_000, "Stop")
    site.database.execute("INSERT INTO top_ups (username, bytes) VALUES ('carol', 5000000)")
    assert site.login("carol", NAS_Identifier="mikrotik").limits["Mikrotik-Total-Limit"] == "3000000"
    site.use("carol", 5_000_000, session="s2")
    assert not site.login("carol", NAS_Identifier="mikrotik").accepted
    # As when the period ends: no job has run.
    site.database.execute(
        "UPDATE user_quota_usage SET period_start = period_start - 40 WHERE username = 'carol'; "
        "UPDATE radmeter.quota_account SET period_start = period_start - 40 WHERE username = 'carol'"
    )
    assert site.login("carol", NAS_Identifier="mikrotik").accepted


def test_the_cache_has_all_speeds_and_nothing_that_is_left(site: Site) -> None:
    text = (resources.directory("radius") / "mods-available" / "radmeter_cache").read_text()
    section = text.partition("cache radmeter_cache {")[2].partition("\n}\n")[0]
    stored = set(re.findall(r"&reply:([\w-]+) [:+]=", section)) - {
        "Session-Timeout", "Idle-Timeout", "Acct-Interim-Interval"
    }  # fmt: skip
    speeds = site.database.rows(
        "SELECT DISTINCT attribute FROM radmeter.vendor_attributes() WHERE at_login AND purpose !~ 'octets'"
    )
    assert stored == {attribute for (attribute,) in speeds}


@pytest.fixture
def passwords_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`radius/` with passwords that are not in the database."""
    raddb = tmp_path / "raddb"
    shutil.copytree(resources.directory("radius"), raddb)
    server = raddb / "logins-on" / "server.conf"
    text = server.read_text()
    assert text.count("\t\tradmeter_radcheck\n") == 1
    known = '\t\tupdate control {\n\t\t\t&Cleartext-Password := "secret"\n\t\t}\n'
    server.write_text(text.replace("\t\tradmeter_radcheck\n", known))
    monkeypatch.setattr(resources, "directory", lambda name: raddb)


NO = Answer("Access-Reject", {"Reply-Message": "Logins are not possible at the moment."})
PLAN = Answer(
    "Access-Accept",
    {"Session-Timeout": "7200", "Idle-Timeout": "60", "Acct-Interim-Interval": "300",
     "Mikrotik-Rate-Limit": "1500000/8000000"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "known", "unknown"),
    [("", PLAN, NO), ("admit", PLAN, NO), ("admit-all", PLAN, Answer("Access-Accept")), ("reject", NO, NO)],
)
@pytest.mark.usefixtures("passwords_elsewhere")
def test_the_database_goes_away_and_comes_back(
    database: Database, postgresql: Server, tmp_path: Path, setting: str, known: Answer, unknown: Answer
) -> None:
    database.execute(SETUP.replace("CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;", ""))
    database.execute("UPDATE plans SET session_timeout = 7200, idle_timeout = 60 WHERE name = 'basic'")
    with FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=database.conninfo) as server:
        server.variables["RADMETER_DATABASE_AWAY"] = setting
        site = Site(server.start(), database)
        for name, plan in (("known", "basic"), ("unknown", "basic"), ("poor", "zero")):
            site.user(name, plan)
        first = site.login("known", NAS_Identifier="mikrotik")
        assert (first.code, first.limits["Mikrotik-Total-Limit"]) == ("Access-Accept", str(GIB))
        assert not site.login("poor").accepted
        assert site.cache() == (1, 0, 0, 1, 0)
        postgresql.stop()
        try:
            answers = [site.login(name) for name in ("known", "known", "unknown", "poor", "known")]
            figures = site.cache()
        finally:
            postgresql.start()
        assert answers == [known, known, unknown, unknown, known]
        assert figures == ((1, 0, 0, 1, 0) if setting == "reject" else (1, 3, 2, 1, 0))
        assert site.warnings() == [AWAY]
        # Without a restart.
        eventually(lambda: site.login("known", NAS_Identifier="mikrotik").limits, first.limits)
        assert site.warnings() == [AWAY, BACK]


@pytest.mark.usefixtures("passwords_elsewhere")
def test_the_cache_keeps_users_of_two_tenants_apart(
    database: Database, postgresql: Server, tmp_path: Path
) -> None:
    """alice of the hotel has a plan, alice of the club is another user. Both send the same name."""
    database.execute(SETUP.replace("CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;", ""))
    database.execute(
        """UPDATE routers SET tenant_id = 7 WHERE nas_identifier = 'mikrotik';
           UPDATE routers SET tenant_id = 8 WHERE nas_identifier = 'chilli';
           INSERT INTO radmeter.tenant_realm VALUES (7, '2026-01-01', 'hotel'), (8, '2026-01-01', 'club');
           UPDATE plans SET idle_timeout = 60 WHERE name = 'basic';
           SELECT radmeter.set_login_setting('unknown_users', 'refuse')"""
    )
    places = [("alice", "mikrotik"), ("alice", "chilli"), ("alice", "generic"), ("alice@hotel", "chilli"),
              ("bob", "generic")]  # fmt: skip
    with FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=database.conninfo) as server:
        site = Site(server.start(), database)
        for name in ("alice@hotel", "bob"):
            site.user(name)

        def logins() -> list[bool]:
            return [site.login(name, NAS_Identifier=place).accepted for name, place in places]

        assert logins() == [True, False, False, True, True]
        assert site.cache()[0] == 2
        postgresql.stop()
        try:
            assert logins() == [True, False, False, True, True]
            # Nobody has logged in there, so nobody knows whose alice it is.
            assert not site.login("alice", NAS_Identifier="new").accepted
            for name in ("alice@hotel", "bob"):
                assert site.command("status", name, "--format", "json").json()["cached"] is True
                assert site.command("drop", name).output == f"{name}: dropped\n"
            assert logins() == [False] * 5
        finally:
            postgresql.start()


@pytest.mark.usefixtures("passwords_elsewhere")
def test_roles_are_cached_like_speeds(database: Database, postgresql: Server, tmp_path: Path) -> None:
    """Two values of one attribute, too."""
    database.execute(SETUP.replace("CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;", ""))
    database.execute(
        "UPDATE plans SET role = 'gold 1', speed_up = NULL, speed_down = NULL WHERE name = 'basic'"
    )
    role = {"Cisco-AVPair": "ip:sub-qos-policy-in=gold 1, ip:sub-qos-policy-out=gold 1"}
    with FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=database.conninfo) as server:
        site = Site(server.start(), database)
        site.user("known", "basic")
        assert site.login("known", NAS_Identifier="cisco").limits == role
        postgresql.stop()
        try:
            assert site.login("known", NAS_Identifier="cisco").limits == role
        finally:
            postgresql.start()


@pytest.mark.usefixtures("passwords_elsewhere")
def test_an_error_of_one_login_is_no_outage_for_all(database: Database, tmp_path: Path) -> None:
    """Somebody holds the row of a voucher that begins. No other login is affected, and it is logged once."""
    database.execute(SETUP.replace("CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;", ""))
    with FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=database.conninfo) as server:
        site = Site(server.start(), database)
        site.user("guest", "voucher")
        site.user("known")
        with psycopg.connect(database.dsn) as holder:
            holder.execute("UPDATE subscribers SET suspended_at = NULL WHERE username = 'guest'")
            assert [site.login("guest") for _ in range(2)] == [NO, NO]
            # Asked at once: the octets that are left are in no cache.
            assert "Mikrotik-Total-Limit" in site.login("known", NAS_Identifier="mikrotik").limits
        assert site.login("guest").accepted
        assert site.warnings() == ["the database could not judge a login, its log says why"]


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[str]:
    """A memcached of the test's own on a free port of loopback."""
    place = f"127.0.0.1:{free_port()}"
    with Child(tmp_path / "memcached.log") as child:
        child.spawn(
            ["memcached", "-l", "127.0.0.1", "-p", place.split(":")[1], "-u", "nobody", "-m", "8"], {}
        )

        def answers() -> bool:
            try:
                socket.create_connection(("127.0.0.1", int(place.split(":")[1])), 1).close()
            except OSError:
                return False
            return True

        eventually(answers, True)
        yield place


@pytest.mark.usefixtures("passwords_elsewhere")
def test_two_servers_share_a_cache_in_memcached(
    database: Database, postgresql: Server, tmp_path: Path, memcached: str
) -> None:
    database.execute(SETUP.replace("CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;", ""))
    file = resources.directory("radius") / "mods-available" / "radmeter_cache"
    file.write_text(shared(file.read_text(), memcached))
    with (
        FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=database.conninfo) as first,
        FreeRadius(tmp_path / "run2", tmp_path / "journal2", login_dsn=database.conninfo) as second,
    ):
        one, two = Site(first.start(), database), Site(second.start(), database)
        for name in ("o'brien", "b"):
            one.user(name)
            assert one.login(name, NAS_Identifier="mikrotik").accepted
        assert two.command("status", "b", "--format", "json").json()["cached"] is True
        postgresql.stop()
        try:
            known = Answer("Access-Accept", {"Acct-Interim-Interval": "300",
                                             "Mikrotik-Rate-Limit": "1500000/8000000"})  # fmt: skip
            assert [two.login(name) for name in ("o'brien", "b")] == [known, known]
            assert two.command("drop", "o'brien").output == "o'brien: dropped\n"
            assert [one.login(name).accepted for name in ("o'brien", "b")] == [False, True]
            assert one.command("drop", "--all").output == "the cache is empty\n"
            assert not two.login("b").accepted
        finally:
            postgresql.start()


@pytest.mark.usefixtures("passwords_elsewhere")
def test_a_suspension_and_another_plan_hold_while_the_database_is_away(
    database: Database, postgresql: Server, tmp_path: Path
) -> None:
    database.execute(SETUP.replace("CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;", ""))
    with FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=database.conninfo) as server:
        site = Site(server.start(), database)
        names = ["sue", "ann", "tom"]
        for name in names:
            site.user(name)
            assert site.login(name).accepted
        # Where FreeRADIUS runs on another machine, the command says what to run there.
        database.execute("CREATE ROLE elsewhere_login IN ROLE radmeter_login")
        try:
            far = radmeter(database.dsn, "users", "assign", "ann", "--plan", "small", RADMETER_CACHE_PORT="1",
                           RADMETER_CACHE_SECRET="x")  # fmt: skip
        finally:
            database.execute("DROP ROLE elsewhere_login")
        assert (far.exit_code, "sudo radmeter cache drop ann" in far.errors) == (0, True)
        assert site.on_this_machine("users", "suspend", "sue").exit_code == 0
        postgresql.stop()
        try:
            assert [site.login(name).accepted for name in names] == [False, True, True]
        finally:
            postgresql.start()
        assert site.on_this_machine("plans", "set", "basic", "--down", "1M").exit_code == 0
        assert site.cache()[0] == 0


def test_a_device_that_logs_in_by_its_mac_goes_the_same_way(site: Site) -> None:
    """The access point sends the MAC as user and as password. Accounting sends it as user, too."""
    mac = "aa-bb-cc-dd-ee-01"
    site.user(mac, "small")
    site.database.execute(f"UPDATE radcheck SET value = '{mac}' WHERE username = '{mac}'")
    place = {"NAS_Identifier": "mikrotik", "Calling_Station_Id": "aa-00-00-00-00-01"}
    assert site.login(mac, mac, **place).limits["Mikrotik-Total-Limit"] == "10000000"
    site.use(mac, 4_000_000)
    assert site.login(mac, mac, **place).limits["Mikrotik-Total-Limit"] == "6000000"
    site.use(mac, 11_000_000)
    assert not site.login(mac, mac, **place).accepted


HARD_PASSWORDS = (
    "secret",
    "pässwörd' %{User-Name}",
    "`id`",
    "'quoted'",
    '"quoted"',
    "back\\slash\\",
    "%{x",
    "a b",
)


def test_passwords_of_the_command_are_those_of_the_login(site: Site, tmp_path: Path) -> None:
    """`users add` stores a digest, which PAP compares. CHAP needs the password itself."""
    dsn, file = site.database.dsn, tmp_path / "password"
    for number, password in enumerate(HARD_PASSWORDS):
        file.write_text(password)
        for kind, options in (("hashed", ()), ("plain", ("--cleartext",))):
            user = f"{kind}{number}"
            done = radmeter(dsn, "users", "add", user, "--plan", "basic", "--password-file", file, *options)
            assert done.exit_code == 0, done.errors
            assert number == 0 or password not in done.output + done.errors
            assert site.login(user, password).accepted, (user, password)
            # radclient does not read escapes in a CHAP-Password.
            if password.isalnum():
                assert site.login(user, None, CHAP_Password=password).accepted == (kind == "plain")
        assert not site.login(f"hashed{number}", password + "x").accepted


def test_another_password_and_a_suspension_hold_at_the_next_login(site: Site) -> None:
    dsn = site.database.dsn
    assert radmeter(dsn, "users", "add", "sue", "--plan", "basic", "--password", "first").exit_code == 0
    assert radmeter(dsn, "users", "password", "sue", "--password", "second").exit_code == 0
    assert not site.login("sue", "first").accepted
    assert site.login("sue", "second").accepted
    assert radmeter(dsn, "users", "suspend", "sue").exit_code == 0
    assert not site.login("sue", "second").accepted
    assert radmeter(dsn, "users", "resume", "sue").exit_code == 0
    assert site.login("sue", "second").accepted


@pytest.mark.usefixtures("passwords_elsewhere")
def test_a_dropped_plan_lets_nobody_in(database: Database, postgresql: Server, tmp_path: Path) -> None:
    database.execute(SETUP.replace("CREATE ROLE freeradius_login LOGIN IN ROLE radmeter_login;", ""))
    with FreeRadius(tmp_path / "run", tmp_path / "journal", login_dsn=database.conninfo) as server:
        site = Site(server.start(), database)
        names = ["o'brien", "b", "c"]
        for name in names:
            site.user(name)
            assert site.login(name).accepted
        assert site.cache() == (3, 0, 0, 3, 0)
        dropped = site.command("drop", "o'brien")
        assert (dropped.exit_code, dropped.output) == (0, "o'brien: dropped\n")
        assert site.command("drop", "o'brien").output == "o'brien: was not in it\n"
        assert site.cache() == (2, 0, 0, 3, 1)
        assert site.command("status", "o'brien", "--format", "json").json()["cached"] is False
        kept = site.command("status", "b", "--format", "json").json()
        assert (kept["cached"], kept["age_seconds"] < 100) == (True, True)
        postgresql.stop()
        try:
            assert [site.login(name).accepted for name in names] == [False, True, True]
            assert site.command("drop", "--all").output == "the cache is empty\n"
            assert [site.login(name).accepted for name in names] == [False, False, False]
        finally:
            postgresql.start()
        assert site.cache() == (0, 2, 4, 3, 0)
        server.stop()
        assert "does not answer for its cache" in site.command("status").errors
