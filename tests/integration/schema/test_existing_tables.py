"""Existing tables of a home-made system with the names of ours are adopted, or refused before any change."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from support.adoption import BACK_TO_0023, BACK_TO_0028
from support.commands import Packets, radmeter
from support.schemas import dump
from support.servers import Connection, Server

HOME_MADE = """
CREATE TABLE plans (id serial PRIMARY KEY, name varchar(40) NOT NULL, price double precision, colour text);
INSERT INTO plans (name, price, colour) VALUES ('gold', 19.99, 'yellow'), ('lead', 2.675, NULL);
CREATE TABLE routers (id bigserial PRIMARY KEY, name text NOT NULL, mac macaddr, total_usage double precision DEFAULT 0,
                      building varchar(20));
INSERT INTO routers (name, mac, total_usage, building) VALUES ('lobby', '02:00:00:00:00:01', 12.345, 'north');
CREATE TABLE subscribers (id serial PRIMARY KEY, username varchar(64) NOT NULL UNIQUE,
                          plan_id integer NOT NULL REFERENCES plans (id), phone text);
INSERT INTO subscribers (username, plan_id, phone) VALUES ('alice', 1, '123');
CREATE TABLE invoices (id serial PRIMARY KEY, username text NOT NULL, period_start date NOT NULL,
                       period_end date NOT NULL, amount real NOT NULL, paid boolean NOT NULL DEFAULT false);
INSERT INTO invoices (username, period_start, period_end, amount) VALUES ('alice', '2024-01-01', '2024-02-01', 19.99);
"""


@pytest.fixture
def own(server: Server) -> Iterator[str]:
    """A database of a home-made system."""
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(HOME_MADE)
        yield dsn


def test_usable_tables_are_taken_over_with_their_rows_and_columns_and_work(server: Server, own: str) -> None:
    planned = radmeter(own, "migrate", "plan")
    assert planned.exit_code == 0, planned.errors
    for table in ("plans", "routers", "subscribers", "invoices"):
        assert f"adopt the existing table public.{table}: " in planned.output
    assert "plans.price, id=2: was shown as 2.675, becomes 2.68" in planned.output
    done = radmeter(own, "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors
    assert radmeter(own, "migrate", "status").exit_code == 0
    with psycopg.connect(own) as connection:
        assert connection.execute(
            "SELECT name, price, colour, quota_type FROM plans ORDER BY id"
        ).fetchall() == [
            ("gold", Decimal("19.99"), "yellow", "monthly"),
            ("lead", Decimal("2.68"), None, "monthly"),
        ]
        assert connection.execute("SELECT username, plan_id, phone FROM subscribers").fetchall() == [
            ("alice", 1, "123")
        ]
        assert connection.execute("SELECT amount, paid FROM invoices").fetchall() == [
            (Decimal("19.99"), False)
        ]
        assert connection.execute("SELECT total_usage, status, building FROM routers").fetchall() == [
            (Decimal("12.35"), "active", "north")
        ]
        assert connection.execute(
            "SELECT name FROM radmeter.migration_log WHERE kind = 'takeover'"
        ).fetchall() == [
            ("plans, routers, subscribers",),
            ("invoices",),
        ]
    with Packets(own) as packets:
        packets.add(
            "Stop", "s1", User_Name="alice", Called_Station_Id="02-00-00-00-00-01:wifi", Acct_Input_Octets=5
        )
        packets.add("Stop", "s2", User_Name="alice", NAS_Identifier="found", Acct_Input_Octets=7)
    shown = radmeter(own, "routers", "show", "lobby", "--format", "json").json()
    assert shown["bytes_today"] == 5
    assert radmeter(own, "routers", "show", "found", "--format", "json").json()["bytes_today"] == 7
    assert radmeter(own, "verify").exit_code == 0
    with psycopg.connect(own) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(
            """INSERT INTO invoices (username, period_start, period_end, amount)
               VALUES ('alice', '2024-01-01', '2024-02-01', 1)"""
        )


def test_commands_of_plans_and_users_work_on_adopted_tables(own: str) -> None:
    assert radmeter(own, "migrate", "up", "--yes").exit_code == 0
    for line in (
        "plans add basic --quota 10MB",
        "plans set gold --quota 20MB --down 5M",
        "users add bob --plan basic --also gold --password secret",
        "users top-up bob 20MB",
        "users assign alice --plan basic",
        "plans retire gold",
    ):
        done = radmeter(own, *line.split())
        assert done.exit_code == 0, (line, done.errors)
    shown = radmeter(own, "users", "show", "bob", "--format", "json").json()
    assert (shown["plan"], shown["quota_bytes"], shown["status"]) == ("basic", 50_000_000, "active")
    listed = radmeter(own, "users", "list", "--format", "csv", "--columns", "username,plan,also").output
    assert listed == "username,plan,also\nalice,basic,\nbob,basic,gold\n"


def test_the_script_of_a_dba_takes_them_over_too(server: Server, own: str) -> None:
    from support.schemas import psql

    script = radmeter(own, "migrate", "sql")
    assert script.exit_code == 0, script.errors
    with server.clone("template0") as other:
        with psycopg.connect(other) as connection:
            connection.execute(HOME_MADE)
        done = psql(server, other, script.output)
        assert done.returncode == 0, done.stderr
        assert radmeter(own, "migrate", "up", "--yes").exit_code == 0
        assert dump(server, other) == dump(server, own)


NOT_USABLE = {
    "public.routers has no column id (bigint)": "ALTER TABLE routers DROP id",
    "public.routers.id is uuid": """
        ALTER TABLE routers ALTER id DROP DEFAULT, ALTER id TYPE uuid USING gen_random_uuid()""",
    "(id)=(1)": """
        ALTER TABLE plans DROP CONSTRAINT plans_pkey CASCADE;
        INSERT INTO plans (id, name, price) VALUES (1, 'twice', 0)""",
    "public.plans.price is NULL in some rows": "INSERT INTO plans (name) VALUES ('free')",
    "ALTER COLUMN mac TYPE macaddr USING mac::text::macaddr": "ALTER TABLE routers ALTER mac TYPE text",
    "(name)=(gold)": "INSERT INTO plans (name, price) VALUES ('gold', 1)",
    "public.routers.serial_number is NOT NULL without a default": """
        ALTER TABLE routers ADD serial_number text NOT NULL DEFAULT '';
        ALTER TABLE routers ALTER serial_number DROP DEFAULT""",
    "public.subscribers has no column plan_id (bigint)": "ALTER TABLE subscribers DROP plan_id",
    "routers_status_check": "ALTER TABLE routers ADD status text NOT NULL DEFAULT 'broken'",
    "public.plans.price cannot become numeric, nothing was changed: id=1": """
        UPDATE plans SET price = 'NaN' WHERE id = 1""",
    "(username, period_start)=(alice, 2024-01-01)": """
        INSERT INTO invoices (username, period_start, period_end, amount)
        SELECT username, period_start, period_end, 1 FROM invoices""",
    "public.routers is not an ordinary table": "DROP TABLE routers; CREATE VIEW routers AS SELECT 1 AS id",
}


@pytest.mark.parametrize(("said", "change"), NOT_USABLE.items(), ids=NOT_USABLE)
def test_what_cannot_be_taken_over_is_refused_by_table_and_column_and_untouched(
    server: Server, own: str, said: str, change: str
) -> None:
    with psycopg.connect(own) as connection:
        connection.execute(change.encode())
    before = dump(server, own)
    for command in (("plan",), ("up", "--yes")):
        refused = radmeter(own, "migrate", *command)
        assert refused.exit_code == 1, refused.output
        assert said in refused.errors
        assert "nothing was changed" in refused.errors
    assert dump(server, own) == before


STRANGER = "existing_owner_in_test"


@pytest.fixture
def strange(server: Server) -> Iterator[str]:
    """A home-made table of a role that is no superuser, and may make tables in public."""
    with server.clone("template0") as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {STRANGER} LOGIN".encode())
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {STRANGER}".encode())
        with psycopg.connect(dsn.replace("postgres@", f"{STRANGER}@"), autocommit=True) as owner:
            owner.execute(
                """CREATE TABLE ran (who text);
                   GRANT ALL ON ran TO PUBLIC;
                   CREATE FUNCTION evil(text) RETURNS boolean LANGUAGE plpgsql AS $$
                   BEGIN INSERT INTO public.ran VALUES (current_user); RETURN true; END $$;
                   CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$
                   BEGIN INSERT INTO public.ran VALUES (current_user); RETURN NEW; END $$;
                   CREATE TABLE routers (id bigserial PRIMARY KEY, name varchar(50) NOT NULL, mac macaddr UNIQUE);
                   INSERT INTO routers (name) VALUES ('x')"""
            )
        try:
            yield dsn
        finally:
            connection.execute(f"DROP OWNED BY {STRANGER} CASCADE".encode())
            connection.execute(f"DROP ROLE {STRANGER}".encode())


def refusals(dsn: str) -> list[str]:
    """Return what each command says that refuses the table, and assert that none ran its owner's code."""
    said = []
    for command in (("plan",), ("sql",), ("up", "--yes")):
        refused = radmeter(dsn, "migrate", *command)
        assert refused.exit_code == 1, refused.output
        assert "nothing was changed" in refused.errors
        said.append(refused.errors)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT * FROM ran").fetchall() == []
    return said


def test_a_table_of_a_role_that_is_not_trusted_is_refused_and_its_code_does_not_run(strange: str) -> None:
    with psycopg.connect(strange.replace("postgres@", f"{STRANGER}@"), autocommit=True) as owner:
        owner.execute("ALTER TABLE routers ADD CHECK (public.evil(name)) NOT VALID")
    for said in refusals(strange):
        assert f"public.routers of {STRANGER}" in said
        assert "ALTER TABLE public.routers OWNER TO radmeter_owner" in said


# Code of a table that is trusted for its owner, and the object that the message names.
CODE = {
    "the constraint evil_check of public.routers uses the function public.evil(text)": """
        ALTER TABLE routers ADD CONSTRAINT evil_check CHECK (public.evil(name)) NOT VALID""",
    f"the trigger evil of public.routers runs the function public.evil() of {STRANGER}": """
        CREATE TRIGGER evil BEFORE INSERT OR UPDATE ON routers FOR EACH ROW EXECUTE FUNCTION public.evil()""",
    "the default of public.routers.x uses the function ts_rewrite(tsquery,text)": """
        ALTER TABLE routers ADD x text;
        ALTER TABLE routers ALTER x SET DEFAULT ts_rewrite('a'::tsquery, 'SELECT 1')::text""",
    "the generated column public.routers.g uses the function public.same(text)": f"""
        CREATE FUNCTION public.same(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
        ALTER FUNCTION public.same OWNER TO {STRANGER};
        ALTER TABLE routers ADD g text GENERATED ALWAYS AS (public.same(name)) STORED""",
    "the rule evil rewrites what is done to public.routers": """
        CREATE RULE evil AS ON UPDATE TO routers DO ALSO SELECT public.evil('x')""",
    "public.routers has the policy evil": "CREATE POLICY evil ON routers USING (public.evil(name))",
    f"the column public.routers.d uses the type public.evil_d of {STRANGER}": f"""
        CREATE DOMAIN evil_d AS text CHECK (public.evil(value));
        ALTER DOMAIN evil_d OWNER TO {STRANGER};
        ALTER TABLE routers ADD d public.evil_d[]""",
    f"public.child of {STRANGER} inherits from or to public.routers": f"""
        CREATE TABLE child () INHERITS (routers);
        ALTER TABLE child OWNER TO {STRANGER}""",
}


@pytest.mark.parametrize(("reason", "making"), CODE.items(), ids=CODE)
def test_code_that_a_table_of_a_trusted_owner_brings_with_it_is_refused(
    strange: str, reason: str, making: str
) -> None:
    with psycopg.connect(strange, autocommit=True) as connection:
        connection.execute("ALTER TABLE routers OWNER TO postgres")
        connection.execute(making.encode())
        connection.execute("TRUNCATE ran")
    for said in refusals(strange):
        assert reason in said


def test_harmless_code_of_a_home_made_table_is_kept(own: str) -> None:
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute(
            """ALTER TABLE routers
                   ADD CHECK (length(name) > 1 AND (building IS NULL OR building IN ('north', 'south')));
               ALTER TABLE routers ADD seen timestamptz DEFAULT now() - interval '1 day';
               ALTER TABLE routers ADD shown text GENERATED ALWAYS AS (upper(name)) STORED;
               CREATE INDEX by_lower ON routers (lower(name)) WHERE building <> '';
               CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql
               AS 'BEGIN NEW.seen := now(); RETURN NEW; END';
               CREATE TRIGGER touch BEFORE UPDATE ON routers FOR EACH ROW WHEN (OLD.name <> NEW.name)
               EXECUTE FUNCTION touch();"""
        )
    done = radmeter(own, "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors
    with psycopg.connect(own) as connection:
        assert connection.execute("SELECT shown FROM routers").fetchall() == [("LOBBY",)]
        assert connection.execute(
            """SELECT tgname::text FROM pg_trigger
               WHERE tgrelid = 'routers'::regclass AND NOT tgisinternal AND tgname !~ '^_100_guard'"""
        ).fetchall() == [("touch",)]


def _remedies(errors: str) -> list[str]:
    return [line.partition("of that name: ")[2] for line in errors.splitlines() if "of that name: " in line]


def test_names_that_a_later_revision_needs_are_refused_before_any_change(server: Server, own: str) -> None:
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute(
            """ALTER TABLE plans ADD COLUMN speed_up text, ADD COLUMN retired_at date;
               ALTER TABLE routers ADD COLUMN merged_into text;
               CREATE TABLE top_ups (id int); CREATE VIEW plan_tiers AS SELECT 1 AS one;
               CREATE TABLE audit_log (at date)"""
        )
        before = dump(server, own)
        for command in (("plan",), ("up", "--yes"), ("sql",)):
            done = radmeter(own, "migrate", *command)
            assert (done.exit_code, done.output) == (1, "")
            assert "nothing was changed" in done.errors
        assert dump(server, own) == before
        remedies = _remedies(done.errors)
        assert remedies == [
            "ALTER TABLE public.audit_log RENAME TO own_audit_log",
            "ALTER TABLE public.routers RENAME COLUMN merged_into TO own_merged_into",
            "ALTER TABLE public.plans RENAME COLUMN speed_up TO own_speed_up",
            "ALTER TABLE public.plans RENAME COLUMN retired_at TO own_retired_at",
            "ALTER TABLE public.plan_tiers RENAME TO own_plan_tiers",
            "ALTER TABLE public.top_ups RENAME TO own_top_ups",
        ]
        for statement in remedies:
            connection.execute(statement.encode())
    done = radmeter(own, "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors


def test_an_upgrade_finds_a_column_that_was_added_to_a_table_of_radmeters(
    database: str, connection: Connection
) -> None:
    connection.execute(BACK_TO_0023)
    connection.execute(
        """UPDATE radmeter.alembic_version SET version_num = '0023'; UPDATE radmeter.sql_file SET checksum = 'old';
           ALTER TABLE subscribers ADD COLUMN suspended_at date; ALTER TABLE plans ADD COLUMN max_sessions text"""
    )
    done = radmeter(database, "migrate", "up", "--yes")
    assert done.exit_code == 1
    remedies = _remedies(done.errors)
    assert remedies == [
        "ALTER TABLE public.plans RENAME COLUMN max_sessions TO own_max_sessions",
        "ALTER TABLE public.subscribers RENAME COLUMN suspended_at TO own_suspended_at",
    ]
    for statement in remedies:
        connection.execute(statement.encode())
    done = radmeter(database, "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors


AS_DECIMALS = """
ALTER TABLE plans ALTER price TYPE numeric(8,2);
ALTER TABLE invoices ALTER amount TYPE numeric(10,2);
"""
# What PostgreSQL would refuse in the middle of revision 0029, how it is named, and how to take it away.
IN_THE_WAY_OF_AMOUNTS = {
    "public.plans.price cannot become numeric, nothing was changed: it is used by the view public.prices": (
        "CREATE VIEW prices AS SELECT price FROM plans",
        "DROP VIEW prices",
    ),
    "public.invoices.amount cannot become numeric, nothing was changed: it is used by the view public.paid": (
        "CREATE VIEW paid AS SELECT username, sum(amount) FROM invoices WHERE paid GROUP BY username",
        "DROP VIEW paid",
    ),
    "it is used by the trigger dearer": (
        """CREATE TRIGGER dearer BEFORE UPDATE OF price ON plans FOR EACH ROW
           EXECUTE FUNCTION suppress_redundant_updates_trigger()""",
        "DROP TRIGGER dearer ON plans",
    ),
    "it is used by the function public.sum_of(text)": (
        """CREATE FUNCTION sum_of(text) RETURNS numeric BEGIN ATOMIC
           SELECT sum(amount) FROM invoices WHERE username = $1; END""",
        "DROP FUNCTION sum_of",
    ),
    "it is in the primary key invoices_pkey. ALTER TABLE public.invoices DROP CONSTRAINT invoices_pkey": (
        "ALTER TABLE invoices DROP CONSTRAINT invoices_pkey, ADD UNIQUE (id), ADD PRIMARY KEY (username, period_start)",
        "ALTER TABLE invoices DROP CONSTRAINT invoices_pkey",
    ),
}


@pytest.mark.parametrize("said", IN_THE_WAY_OF_AMOUNTS)
def test_what_keeps_amounts_from_holding_every_currency_is_refused_before_any_change(
    server: Server, own: str, said: str
) -> None:
    make, remedy = IN_THE_WAY_OF_AMOUNTS[said]
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute(AS_DECIMALS)
        connection.execute(make.encode())
        before = dump(server, own)
        for command in (("plan",), ("sql",), ("up", "--yes")):
            refused = radmeter(own, "migrate", *command)
            assert (refused.exit_code, said in refused.errors) == (1, True), refused
        assert dump(server, own) == before
        connection.execute(remedy.encode())
        done = radmeter(own, "migrate", "up", "--yes")
        assert done.exit_code == 0, done.errors
        connection.execute(
            """UPDATE plans SET price = 1.0005;
               INSERT INTO invoices (username, period_start, period_end, amount)
               VALUES ('bob', '2024-01-01', '2024-02-01', 12345678901.125)"""
        )
        assert connection.execute(
            "SELECT DISTINCT price, max(amount) FROM plans, invoices GROUP BY 1"
        ).fetchall() == [(Decimal("1.0005"), Decimal("12345678901.125"))]


@pytest.mark.parametrize(
    "make",
    [
        "ALTER TABLE invoices ADD CONSTRAINT once UNIQUE (username, period_start)",
        "CREATE UNIQUE INDEX once ON invoices (period_start, username)",
    ],
)
def test_an_own_index_that_allows_one_invoice_of_a_month_makes_room_for_the_one_that_replaces_it(
    own: str, make: str
) -> None:
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute(make.encode())
        done = radmeter(own, "migrate", "up", "--yes")
        assert done.exit_code == 0, done.errors
        another = """INSERT INTO invoices (username, period_start, period_end, amount, status)
                     VALUES ('alice', '2024-01-01', '2024-02-01', 5, %s)"""
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(another.encode(), ("issued",))
        connection.execute(another.encode(), ("void",))


def test_an_upgrade_from_0028_refuses_a_view_of_the_operators_and_keeps_amounts(
    database: str, connection: Connection
) -> None:
    connection.execute(BACK_TO_0028)
    connection.execute(
        """UPDATE radmeter.alembic_version SET version_num = '0028'; UPDATE radmeter.sql_file SET checksum = 'old';
           INSERT INTO plans (name, price) VALUES ('gold', 19.90);
           INSERT INTO invoices (username, period_start, period_end, amount)
           VALUES ('alice', '2024-01-01', '2024-02-01', 5);
           CREATE VIEW prices AS SELECT price FROM plans"""
    )
    done = radmeter(database, "migrate", "up", "--yes")
    assert (done.exit_code, "it is used by the view public.prices" in done.errors) == (1, True), done
    connection.execute("DROP VIEW prices")
    done = radmeter(database, "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors
    assert connection.execute("SELECT price::text FROM plans").fetchall() == [("19.90",)]
    assert connection.execute("SELECT price FROM radmeter.plan_prices").fetchall() == [(Decimal("19.90"),)]
    assert connection.execute("SELECT amount::text, status FROM invoices").fetchall() == [("5.00", "issued")]
