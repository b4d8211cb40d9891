"""Passwords of users: where they are stored, who may see them, and where they never show."""

from pathlib import Path

import psycopg
import pytest
from support.commands import radmeter
from support.logins import as_role, login_role
from support.screens import screen
from support.servers import Connection

SECRET = "Correct-Horse-7"


@pytest.fixture
def plan(database: str) -> str:
    assert radmeter(database, "plans", "add", "basic", "--quota", "10MB").exit_code == 0
    return database


def rows(connection: Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT username, attribute, op, value FROM radcheck ORDER BY id").fetchall()


def everywhere(connection: Connection) -> str:
    """Return all text of all tables but radcheck."""
    tables = connection.execute(
        """SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relname <> 'radcheck'
             AND relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)"""
    ).fetchall()
    query = " UNION ALL ".join(f"SELECT to_jsonb(each)::text FROM {name} AS each" for (name,) in tables)
    return "\n".join(text for (text,) in connection.execute(query.encode()).fetchall())


def test_a_password_is_stored_as_a_digest_and_shows_nowhere(
    plan: str, connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    told = [
        radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password-file", file),
        radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET),
        radmeter(plan, "users", "password", "bob", "--password", SECRET),
        radmeter(plan, "users", "password", "nosuch", "--password", SECRET),
        radmeter(plan, "users", "password", "bob", "--password", SECRET + "\x07"),
        radmeter(plan, "users", "password", "bob", "--password", SECRET * 10),
        radmeter("host=/nonexistent", "users", "password", "bob", "--password", SECRET),
    ]
    (tmp_path / "users.csv").write_text(f"username,plan,password\nann,basic,{SECRET}\ncarl,nosuch,{SECRET}\n")
    told.append(radmeter(plan, "users", "import", tmp_path / "users.csv"))
    assert [done.exit_code for done in told] == [0, 1, 0, 1, 2, 2, 1, 1]
    for done in told:
        assert SECRET not in done.output + done.errors
    stored = rows(connection)
    assert [row[:3] for row in stored] == [
        ("bob", "SSHA2-512-Password", ":="),
        ("ann", "SSHA2-512-Password", ":="),
    ]
    assert stored[0][3] != stored[1][3]
    text = everywhere(connection)
    assert "users password" in text
    assert not [value for *_, value in stored if value in text]
    assert SECRET not in text + str(stored)


def test_cleartext_only_if_asked_for(plan: str, connection: Connection) -> None:
    radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET, "--cleartext")
    assert rows(connection) == [("bob", "Cleartext-Password", ":=", SECRET)]
    assert SECRET not in everywhere(connection)
    radmeter(plan, "users", "password", "bob", "--password", SECRET)
    assert [row[1] for row in rows(connection)] == ["SSHA2-512-Password"]


def test_other_rows_of_the_user_stay(plan: str, connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radcheck (username, attribute, op, value) VALUES
           ('bob', 'Simultaneous-Use', ':=', '1'), ('bob', 'Crypt-Password', ':=', 'x'),
           ('bobby', 'MD5-Password', ':=', 'x')"""
    )
    radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET)
    assert [row[:2] for row in rows(connection)] == [
        ("bob", "Simultaneous-Use"),
        ("bobby", "MD5-Password"),
        ("bob", "SSHA2-512-Password"),
    ]


def test_options_that_contradict_are_refused(plan: str, connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("two\nlines\n")
    for options, told in (
        (("--password", "x", "--password-file", str(file)), "give either --password-file or --password"),
        (("--password-file", str(file)), "the file must have one line, the password"),
        (("--password-file", "/nonexistent"), "No such file"),
        (("--password", ""), "the password is empty"),
        (("--no-password", "--cleartext"), "--no-password goes with no other option"),
        (("--cleartext",), "there is no terminal to ask at: give --password-file"),
    ):
        done = radmeter(plan, "users", "add", "bob", "--plan", "basic", *options)
        assert (done.exit_code, done.output) == (2, ""), options
        assert told in done.errors
    assert connection.execute("SELECT count(*) FROM subscribers").fetchone() == (0,)


def test_a_terminal_is_asked(plan: str, connection: Connection) -> None:
    with screen(plan, "users", "add", "bob", "--plan", "basic") as shown:
        shown.expect(r"Password of bob \(empty: the user authenticates elsewhere\)")
        shown.type(SECRET)
        shown.expect("Once more")
        shown.type(SECRET)
        shown.expect("password stored as SSHA2-512-Password")
        assert shown.end() == 0
    assert [row[:2] for row in rows(connection)] == [("bob", "SSHA2-512-Password")]
    with screen(plan, "users", "add", "ann", "--plan", "basic") as shown:
        shown.expect("Password of ann")
        shown.type("")
        shown.expect("no password is stored here")
        assert shown.end() == 0
    assert len(rows(connection)) == 1


def test_only_logins_and_the_owner_read_passwords(plan: str, connection: Connection) -> None:
    radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET)
    for group in ("radmeter_noc", "radmeter_reader", "radmeter_billing", "radmeter_ingest"):
        with login_role(connection, group) as role:
            if group == "radmeter_noc":
                changed = radmeter(as_role(plan, role), "users", "password", "bob", "--password", "other")
                assert changed.exit_code == 0, changed.errors
            with (
                psycopg.connect(as_role(plan, role)) as other,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                other.execute("SELECT * FROM public.radcheck")


def test_a_table_of_another_role_is_not_written(plan: str, connection: Connection) -> None:
    """Its trigger would run with the rights of radmeter's owner."""
    with login_role(connection) as role:
        connection.execute(f"ALTER TABLE radcheck OWNER TO {role}".encode())
        try:
            done = radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET)
            assert (done.exit_code, done.output) == (1, "")
            assert f"public.radcheck belongs to {role}" in done.errors
            assert "ALTER TABLE public.radcheck OWNER TO radmeter_owner" in done.errors
            assert connection.execute("SELECT count(*) FROM subscribers").fetchone() == (0,)
            without = radmeter(plan, "users", "add", "bob", "--plan", "basic")
            assert without.exit_code == 0, without.errors
        finally:
            connection.execute("ALTER TABLE radcheck OWNER TO radmeter_owner")


def test_an_operators_own_table_is_used_as_it_is(plan: str, connection: Connection) -> None:
    connection.execute("DROP TABLE radcheck")
    refused = radmeter(plan, "users", "add", "ann", "--plan", "basic", "--password", "x")
    assert "there is no table public.radcheck: make it as FreeRADIUS's schema.sql" in refused.errors
    # A site without the table is upgraded all the same.
    again = radmeter(plan, "migrate", "up", "--yes", "--reapply")
    assert again.exit_code == 0, again.errors
    connection.execute(
        """CREATE TABLE radcheck (id bigserial PRIMARY KEY, site text NOT NULL DEFAULT 'main',
               username varchar(64) NOT NULL, attribute varchar(64) NOT NULL, op char(2) NOT NULL DEFAULT '==',
               value varchar(253) NOT NULL)"""
    )
    refused = radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET)
    assert "radmeter_owner may not write public.radcheck: as its owner, " in refused.errors
    for grant in refused.errors.strip().partition("its owner, ")[2].split("; "):
        connection.execute(grant.encode())
    done = radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET)
    assert done.exit_code == 0, done.errors
    assert connection.execute("SELECT username, attribute, site FROM radcheck").fetchall() == [
        ("bob", "SSHA2-512-Password", "main")
    ]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("GRANT ALL ON radcheck TO {role}", "{role} could run code with the rights of radmeter_owner"),
        ("GRANT TRIGGER ON radcheck TO PUBLIC", "everybody could run code with the rights of radmeter_owner"),
        (
            "CREATE TRIGGER t BEFORE INSERT OR DELETE ON radcheck FOR EACH ROW EXECUTE FUNCTION {role}.run()",
            "the trigger t of public.radcheck runs the function {role}.run() of {role}",
        ),
        ("CREATE RULE r AS ON INSERT TO radcheck DO ALSO SELECT {role}.noted('x')", "the rule r rewrites"),
        (
            "ALTER TABLE radcheck ADD COLUMN x text DEFAULT {role}.noted('x')",
            "the default of x of public.radcheck runs the function {role}.noted(text)",
        ),
        (
            "ALTER TABLE radcheck ADD COLUMN x text DEFAULT pg_read_file('PG_VERSION')",
            "the default of x of public.radcheck runs the function pg_read_file",
        ),
        (
            "ALTER TABLE radcheck ADD CONSTRAINT c CHECK ({role}.noted(value) IS NOT NULL)",
            "the constraint c of public.radcheck runs the function {role}.noted(text)",
        ),
        (
            "CREATE INDEX i ON radcheck ({role}.noted(value))",
            "the index public.i of public.radcheck runs the function {role}.noted(text)",
        ),
        (
            "ALTER TABLE radcheck ADD COLUMN x {role}.noted_text DEFAULT 'x'",
            "the column x of public.radcheck has the type {role}.noted_text",
        ),
        ("ALTER TABLE radcheck ENABLE ROW LEVEL SECURITY", "row level security is on for public.radcheck"),
    ],
)
def test_code_of_others_on_the_table_never_runs(
    plan: str, connection: Connection, made: str, reason: str
) -> None:
    radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET)
    with login_role(connection) as role:
        connection.execute(
            f"""CREATE SCHEMA {role} AUTHORIZATION {role};
                CREATE TABLE {role}.seen (who text); GRANT ALL ON {role}.seen TO PUBLIC;
                GRANT USAGE ON SCHEMA {role} TO PUBLIC;
                CREATE FUNCTION {role}.noted(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
                $$ BEGIN IF current_setting('application_name') LIKE 'radmeter%' THEN RAISE 'it ran'; END IF;
                RETURN $1; END $$;
                CREATE FUNCTION {role}.run() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN INSERT INTO {role}.seen VALUES (current_user); RETURN NEW; END $$;
                CREATE DOMAIN {role}.noted_text AS text CHECK ({role}.noted(VALUE) IS NOT NULL);
                ALTER FUNCTION {role}.run() OWNER TO {role};
                ALTER FUNCTION {role}.noted(text) OWNER TO {role}""".encode()
        )
        try:
            connection.execute(made.format(role=role).encode())
            connection.execute(f"TRUNCATE {role}.seen".encode())
            done = radmeter(plan, "users", "password", "bob", "--password", "other")
            assert reason.format(role=role) in done.errors
            assert done.exit_code == 1
            radmeter(plan, "people", "erase", "bob", "--yes")
            assert connection.execute(f"SELECT * FROM {role}.seen".encode()).fetchall() == []
            assert len(rows(connection)) == 1
            told = radmeter(plan, "doctor", "--only", "public", "--format", "json").output
            assert reason.format(role=role) in told
        finally:
            connection.execute(f"REVOKE ALL ON radcheck FROM {role}; DROP OWNED BY {role} CASCADE".encode())


def test_code_of_a_superuser_on_the_table_is_its_own_affair(plan: str, connection: Connection) -> None:
    connection.execute(
        """CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
           CREATE TRIGGER note BEFORE INSERT ON radcheck FOR EACH ROW EXECUTE FUNCTION public.note();
           ALTER TABLE radcheck ADD COLUMN at timestamptz DEFAULT now(),
               ADD CHECK (lower(value) || op <> 'x' AND id > 0);
           CREATE INDEX ON radcheck (lower(username)) WHERE value LIKE 'x%';
           CREATE ROLE reads_only; GRANT SELECT, INSERT, UPDATE, DELETE ON radcheck TO reads_only"""
    )
    try:
        done = radmeter(plan, "users", "add", "bob", "--plan", "basic", "--password", SECRET)
        assert done.exit_code == 0, done.errors
    finally:
        connection.execute("DROP OWNED BY reads_only; DROP ROLE reads_only")


def test_an_erasure_removes_the_password(plan: str, connection: Connection) -> None:
    for user in ("bob", "ann"):
        radmeter(plan, "users", "add", user, "--plan", "basic", "--password", SECRET)
    shown = radmeter(plan, "people", "show", "bob", "--format", "json").json()
    assert [(row["number"], row["on_erase"]) for row in shown if row["kind"] == "rows of radcheck"] == [
        (1, "removed")
    ]
    done = radmeter(plan, "people", "erase", "bob", "--yes", "--format", "json").json()
    assert done["rows"]["radcheck"] == 1
    assert [row[0] for row in rows(connection)] == ["ann"]
    assert "bob" not in everywhere(connection)
