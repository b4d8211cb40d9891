"""A login of a tenant sees the rows of that tenant only, whatever it tries, on everything that the catalog has."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import errors, sql
from support.commands import radmeter
from support.logins import as_role, login_role
from support.servers import Connection, Server

from radmeter.schema import manifest

# What a tenant may read, and how many rows acme has there. Whatever is not here has to be refused.
READABLE = {
    "public.credit_note_lines": 1,
    "public.credit_notes": 1,
    "public.invoice_lines": 2,
    "public.invoice_usage": 1,
    "public.invoices": 2,
    "public.plans": 2,
    "public.router_daily_usage": 3,
    "public.routers": 1,
    "public.subscriber_plans": 1,
    "public.subscribers": 1,
    "public.top_ups": 1,
    "public.user_quota_usage": 1,
    "radmeter.billing_close": 1,
    "radmeter.issuers": 1,
    "radmeter.router_list": 2,
    "radmeter.router_tenant": 2,
    "radmeter.router_usage": 3,
    "radmeter.setting": 2,
    "radmeter.tenant_rates": 1,
    "radmeter.tenant_sessions": 1,
    "radmeter.tenants": 1,
}
# The columns that a tenant may read, where it is not all of them.
COLUMNS = {
    "public.routers": "id, name, mac, nas_identifier, ip_address, clients, tenant_id",
    "public.top_ups": "id, username, bytes, used_bytes, added_at, expires_at, renewal, price",
}
CALLABLE = {
    "anchor_day",
    "assigned_until",
    "current_tenant",
    "former_routers",
    "is_own_day",
    "month_day",
    "own_sessions",
    "period_end",
    "period_start",
    "setting_value",
    "stale_after",
}

ROWS = """
SET session_replication_role = replica;
INSERT INTO radmeter.issuers (name) VALUES ('bolt');
INSERT INTO radmeter.tenants (id, name, currency, digits, timezone, issuer_id, note)
SELECT id, name, 'EUR', 2, 'UTC', (SELECT id FROM radmeter.issuers AS issuer WHERE issuer.name = each.issuer),
       name || ' secret'
FROM (VALUES (101, 'acme', 'default'), (102, 'bolt', 'bolt')) AS each (id, name, issuer);
INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms)
SELECT id, '2026-01-01', jsonb_build_object('price', '1' || CASE name WHEN 'acme' THEN '' ELSE '77700099' END)
FROM radmeter.tenants;
INSERT INTO routers (id, name, mac, ip_address, timezone, tenant_id, total_usage, nas_identifier, clients) VALUES
    (201, 'acme lobby', '02:00:00:00:aa:01', '10.1.0.1', 'UTC', 101, 11, 'acme', '{10.1.0.0/16}'),
    (202, 'bolt lobby', '02:00:00:00:bb:02', '10.2.0.2', 'UTC', 102, 77, 'bolt', '{10.2.0.0/16}'),
    (203, 'acme hall', '02:00:00:00:aa:03', '10.2.0.3', 'UTC', 102, 88, 'bolt', '{10.2.0.0/16}'),
    (204, 'nobody', '02:00:00:00:bb:04', '10.2.0.4', 'UTC', NULL, 0, 'bolt', '{10.2.0.0/16}');
-- The hall was bolt's before and after.
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES
    (201, '2026-01-01', 101), (202, '2026-01-01', 102),
    (203, '2026-01-01', 102), (203, '2026-01-03', 101), (203, '2026-01-04', 102);
INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out) VALUES
    (201, '2026-01-01', 1, 1), (201, '2026-01-02', 2, 2), (202, '2026-01-01', 77700002, 77700002),
    (203, '2026-01-02', 77700003, 77700003), (203, '2026-01-03', 3, 3), (203, '2026-01-04', 77700004, 77700004),
    (204, '2026-01-01', 77700005, 77700005);
INSERT INTO plans (id, name) VALUES (301, 'acme gold'), (302, 'bolt gold'), (303, 'acme extra'), (304, 'bolt unused');
INSERT INTO subscribers (username, plan_id, tenant_id)
VALUES ('alice', 301, 101), ('bolt bob', 302, 102), ('bolt nobody', 302, NULL);
INSERT INTO subscriber_plans (username, plan_id) VALUES ('alice', 303), ('bolt bob', 304);
INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
VALUES ('alice', '2026-01-01', 5, 5), ('bolt bob', '2026-01-01', 77700006, 77700006);
-- Alice was bolt's user then.
INSERT INTO top_ups (username, bytes, note, added_by)
VALUES ('alice', 5, 'bolt', 'bolt'), ('bolt bob', 77700007, 'bolt', 'bolt');
INSERT INTO invoices (id, username, tenant_id, of_tenant_id, period_start, period_end, usage, amount, currency, status,
                      net, tax, digits, issued_at)
VALUES (401, NULL, 101, NULL, '2026-01-01', '2026-02-01', 1, 1, 'EUR', 'issued', 1, 0, 2, now()),
       (402, 'alice', NULL, 101, '2026-01-01', '2026-02-01', 1, 1, 'EUR', 'issued', 1, 0, 2, now()),
       (403, NULL, 102, NULL, '2026-01-01', '2026-02-01', 77700008, 77700008, 'EUR', 'issued', 77700008, 0, 2,
        now()),
       (404, 'bolt bob', NULL, 102, '2026-01-01', '2026-02-01', 77700009, 77700009, 'EUR', 'issued', 77700009, 0, 2,
        now()),
       (405, NULL, 101, NULL, '2026-02-01', '2026-03-01', 77700010, 77700010, 'EUR', 'draft', 77700010, 0, 2, NULL);
INSERT INTO radmeter.billing_close (period, tenant_id, closed_by)
VALUES ('2026-01-01', 101, 'acme'), ('2026-01-01', 102, 'bolt'), ('2026-01-01', NULL, 'bolt');
INSERT INTO invoice_lines (invoice_id, line, kind, period_start, period_end, description, arithmetic, net, tax_rate)
SELECT id, 1, 'usage', '2026-01-01', '2026-02-01',
       CASE WHEN id < 403 THEN 'acme' ELSE 'bolt' END, '', 1, 0 FROM invoices;
INSERT INTO invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
VALUES (401, 201, '2026-01-01', 1, 1), (403, 202, '2026-01-01', 77700011, 77700011);
INSERT INTO credit_notes (id, invoice_id, issuer_id, number_year, sequence, number, currency, digits, net, tax, amount,
                          taxes, reason, recipient, issuer)
SELECT 100 + id, id, (SELECT min(id) FROM radmeter.issuers), 2026, id, CASE WHEN id < 403 THEN 'acme' ELSE 'bolt' END,
       'EUR', 2, 1, 0, 1, '[]', 'r', '{}', '{}' FROM invoices WHERE id IN (401, 403);
INSERT INTO credit_note_lines (credit_note_id, line, invoice_line, description, net, tax_rate)
SELECT id, 1, 1, number, 1, 0 FROM credit_notes;
INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     acctinputoctets, acctoutputoctets, usage_date, callingstationid)
SELECT session, session, username, router_id, '10.9.9.9', start, start, octets, octets, last_day,
       'device of ' || username
FROM (VALUES ('s1', 'alice', 203, timestamptz '2026-01-03 10:00Z', 1, date '2026-01-03'),
             -- Of these the tenant would see octets of a day that is not its own.
             ('s2', 'bolt before', 203, '2026-01-02 23:00Z', 77700012, '2026-01-03'),
             ('s3', 'bolt after', 203, '2026-01-03 23:00Z', 77700013, '2026-01-04'),
             ('s4', 'bolt bob', 202, '2026-01-03 10:00Z', 77700014, '2026-01-03'))
    AS each (session, username, router_id, start, octets, last_day);
INSERT INTO accounting_anomaly (kind, username, acctuniqueid) VALUES ('bolt', 'bolt bob', 'bolt');
SELECT radmeter.audit('bolt', '{"bolt": 1}');
RESET session_replication_role;
"""
REFUSED = (
    errors.InsufficientPrivilege,
    errors.ObjectNotInPrerequisiteState,
    errors.FeatureNotSupported,
    errors.GeneratedAlways,
)
# No row of acme has any of these.
FOREIGN = ("bolt", "777000", "bb:0", "10.2.", "device of")


@dataclass(frozen=True)
class Tenant:
    """A login, and a connection as it."""

    role: str
    dsn: str
    connection: Connection

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.connection.execute(query.encode()).fetchall()


@contextmanager
def tenant(database: str, connection: Connection, name: str | None, *groups: str) -> Iterator[Tenant]:
    with login_role(connection, *(groups or ("radmeter_tenant",))) as role:
        if name is not None:
            connection.execute(
                """INSERT INTO radmeter.tenant_logins (role_name, tenant_id)
                   SELECT %s, id FROM radmeter.tenants WHERE name = %s""",
                (role, name),
            )
        with psycopg.connect(as_role(database, role), autocommit=True) as opened:
            yield Tenant(role, as_role(database, role), opened)


@pytest.fixture
def filled(connection: Connection) -> Connection:
    connection.execute(ROWS.encode())
    connection.execute("ANALYZE")
    return connection


@pytest.fixture
def acme(database: str, filled: Connection) -> Iterator[Tenant]:
    with tenant(database, filled, "acme") as opened:
        yield opened


def relations(connection: Connection) -> list[tuple[str, str]]:
    """Return everything that has rows in our schemas, partitions included, and its kind."""
    return connection.execute(
        """SELECT format('%I.%I', nspname, relname), relkind::text
           FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE nspname IN ('public', 'radmeter') AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1"""
    ).fetchall()


def foreign(text: object) -> list[str]:
    return [mark for mark in FOREIGN if mark in str(text)]


def test_the_marks_are_in_all_rows_of_others(filled: Connection) -> None:
    """If this fails, the tests below show nothing."""
    for name, own in READABLE.items():
        if name != "radmeter.tenant_sessions":
            everything = filled.execute(f"SELECT t.*::text FROM {name} AS t".encode()).fetchall()
            assert len(everything) > own, name
            if name not in (
                "radmeter.setting",
                "radmeter.router_tenant",
            ):  # the rows of these are numbers and words
                assert [row for row in everything if foreign(row)], name


@pytest.mark.parametrize("how", ["select", "copy", "cursor", "join"])
def test_every_relation_is_refused_or_shows_own_rows(acme: Tenant, filled: Connection, how: str) -> None:
    seen = {}
    for name, _ in relations(filled):
        columns = COLUMNS.get(name, "*")
        try:
            if how == "select":
                rows = acme.rows(f"SELECT {columns} FROM {name}")
            elif how == "copy":
                with (
                    acme.connection.cursor() as cursor,
                    cursor.copy(f"COPY (SELECT {columns} FROM {name}) TO STDOUT".encode()) as copy,
                ):
                    rows = [(bytes(line).decode(),) for line in copy]
            elif how == "cursor":
                with acme.connection.transaction():
                    declared = f"DECLARE all_rows CURSOR WITH HOLD FOR SELECT {columns} FROM {name}"
                    acme.connection.execute(declared.encode())
                rows = acme.rows("FETCH ALL FROM all_rows")
                acme.connection.execute("CLOSE all_rows")
            else:
                outer = f"(SELECT true AS is_row, t.* FROM (SELECT {columns} FROM {name}) AS t) AS t"
                rows = acme.rows(f"SELECT t FROM (SELECT) AS one LEFT JOIN {outer} ON true WHERE is_row")
        except errors.InsufficientPrivilege:
            continue
        seen[name] = len(rows)
        assert not [row for row in rows if foreign(row)], name
    assert seen == READABLE


def test_copy_of_a_table_itself_is_filtered(acme: Tenant) -> None:
    with acme.connection.cursor() as cursor, cursor.copy("COPY public.invoices TO STDOUT") as copy:
        lines = [bytes(line).decode() for line in copy]
    assert len(lines) == 2
    assert not foreign(lines)


def test_nothing_can_be_written(acme: Tenant, filled: Connection) -> None:
    for name, kind in relations(filled):
        if kind == "S":
            statements = [f"SELECT nextval('{name}')", f"SELECT setval('{name}', 1)"]
        else:
            statements = [
                f"DELETE FROM {name}",
                f"INSERT INTO {name} DEFAULT VALUES",
                f"SELECT FROM {name} FOR UPDATE",
            ]
            if kind in ("r", "p"):
                statements += [f"TRUNCATE {name}", f"LOCK {name} IN SHARE MODE", f"COPY {name} FROM STDIN"]
            (column,) = filled.execute(
                "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1",
                (name,),
            ).fetchall()
            statements.append(f"UPDATE {name} SET {column[0]} = DEFAULT")
        for statement in statements:
            with pytest.raises(REFUSED), acme.connection.transaction():
                acme.connection.execute(statement.encode())


def test_only_harmless_functions_can_be_called(acme: Tenant) -> None:
    may = acme.rows(
        """SELECT proname FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
             AND has_function_privilege(oid, 'EXECUTE') ORDER BY 1"""
    )
    assert {name for (name,) in may} == CALLABLE
    assert acme.rows("SELECT radmeter.current_tenant()") == [(101,)]
    days = """SELECT radmeter.is_own_day(203, day::date), radmeter.is_own_day(202, day::date)
              FROM generate_series(timestamp '2026-01-02', '2026-01-04', '1 day') AS day ORDER BY day"""
    assert acme.rows(days) == [(False, False), (True, False), (False, False)]
    # Until when a router was its own, and nothing of the other tenant's days.
    until = """SELECT router_id, from_day::text, radmeter.assigned_until(router_id, from_day)::text
               FROM (VALUES (203, date '2026-01-02'), (203, '2026-01-03'), (203, '2026-01-04'), (202, '2026-01-03'))
                   AS each (router_id, from_day) ORDER BY 1, 2"""
    assert [row for row in acme.rows(until) if row[2]] == [(203, "2026-01-03", "2026-01-04")]
    assert acme.rows("SELECT radmeter.setting_value('billing_rounding')") == [(None,)]
    with pytest.raises(errors.InsufficientPrivilege):
        acme.rows("SELECT radmeter.bind_tenant_login(session_user::text, 'bolt')")


def test_days_before_and_after_are_the_other_tenants(acme: Tenant, database: str, filled: Connection) -> None:
    days = "SELECT usage_date::text FROM public.router_daily_usage WHERE router_id = 203 ORDER BY 1"
    assert acme.rows(days) == [("2026-01-03",)]
    with tenant(database, filled, "bolt") as bolt:
        assert bolt.rows(days) == [("2026-01-02",), ("2026-01-04",)]
        assert not [
            row
            for row in bolt.rows("SELECT t::text FROM public.router_daily_usage AS t")
            if "acme" in str(row[0])
        ]


def test_a_session_without_a_counted_day_is_of_the_day_of_its_last_packet(
    acme: Tenant, filled: Connection
) -> None:
    """As history that was adopted has it. The next day the router is the other tenant's."""
    shown = "SELECT username FROM radmeter.tenant_sessions"
    assert acme.rows(shown) == [("alice",)]
    filled.execute("SET session_replication_role = replica")
    last = "UPDATE radacct SET usage_date = NULL, acctupdatetime = %s WHERE username = 'alice'"
    filled.execute(last, ("2026-01-03 20:00Z",))
    assert acme.rows(shown) == [("alice",)]
    filled.execute(last, ("2026-01-04 10:00Z",))
    assert acme.rows(shown) == []


def test_a_session_over_days_of_another_tenant_is_not_shown(acme: Tenant, filled: Connection) -> None:
    """It began and ended on days of acme, and counted in between, while the yard was bolt's."""
    filled.execute("SET session_replication_role = replica")
    filled.execute(
        """INSERT INTO routers (id, name, timezone, tenant_id) VALUES (205, 'yard', 'Pacific/Auckland', 101);
           INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES
               (205, '2026-01-01', 101), (205, '2026-01-04', 102), (205, '2026-01-06', 101), (205, '2026-01-08', 101);
           INSERT INTO radacct (acctsessionid, acctuniqueid, username, router_id, nasipaddress, acctstarttime,
                                acctupdatetime, acctinputoctets, usage_date)
           SELECT name, name, name, 205, '10.9.9.9', start, start, 1, last
           FROM (VALUES ('to the end', timestamptz '2026-01-03 10:59Z', date '2026-01-03'),
                        ('bolt from its first day', '2026-01-03 11:00Z', '2026-01-04'),
                        ('bolt in between', '2026-01-03 10:00Z', '2026-01-06'),
                        ('from the first day', '2026-01-05 11:00Z', '2026-01-07'),
                        -- The 8th is no change.
                        ('over the 8th', '2026-01-06 11:00Z', '2026-01-09'),
                        ('without a start', NULL, '2026-01-09'),
                        ('bolt without a start', NULL, '2026-01-05')) AS each (name, start, last)"""
    )
    shown = acme.rows("SELECT username FROM radmeter.tenant_sessions WHERE router_id = 205 ORDER BY 1")
    assert [name for (name,) in shown] == [
        "from the first day",
        "over the 8th",
        "to the end",
        "without a start",
    ]


def test_sessions_of_a_time(acme: Tenant, filled: Connection) -> None:
    filled.execute("SET session_replication_role = replica")
    asked = "SELECT username FROM radmeter.own_sessions({})"
    for span, found in {
        "": True,
        "'2026-01-03 10:01Z'": True,  # it is open
        "NULL, '2026-01-03 10:00Z'": False,
        "'2026-01-01', '2026-01-03 10:01Z'": True,
    }.items():
        assert acme.rows(asked.format(span)) == ([("alice",)] if found else []), span
    filled.execute("SELECT radmeter.ensure_partition('2026-01-01')")
    filled.execute("UPDATE radacct SET acctstoptime = '2026-01-03 11:00Z' WHERE username = 'alice'")
    assert acme.rows(asked.format("'2026-01-03 11:00Z'")) == [("alice",)]
    assert acme.rows(asked.format("'2026-01-03 11:01Z'")) == []


def test_plans_of_sessions_show_nothing_of_others(acme: Tenant, filled: Connection) -> None:
    """A condition that some session of another tenant meets has the plan of one that none meets."""
    explain = "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT * FROM "
    for condition in (
        "bytes_in = {}",
        "bytes_in > {}",
        "bytes_in < {} AND router_id = 203",
        "bytes_in <> {}",
    ):
        plans = {
            value: [
                line
                for (line,) in acme.rows(
                    f"{explain} radmeter.tenant_sessions WHERE {condition.format(value)}"
                )
            ]
            for value in (77700013, 77700014, 77700099)
        }
        shapes = {str(plan).replace(str(value), "") for value, plan in plans.items()}
        assert len(shapes) == 1, shapes
        assert " on public.radacct" not in str(shapes)
        # Its own rows may be told.
        assert ("Removed by Filter: 1" in str(shapes)) is ("<" not in condition)


def test_a_former_tenant_sees_the_name_of_a_router(acme: Tenant, database: str, filled: Connection) -> None:
    details = "nas_identifier, ip_address, clients, tenant_id, tenant"
    query = f"SELECT name, mac::text, {details} FROM radmeter.router_list WHERE id = 203"
    assert acme.rows(query) == [("acme hall", "02:00:00:00:aa:03", None, None, None, None, None)]
    with tenant(database, filled, "bolt") as bolt:
        (row,) = bolt.rows(query)
        assert None not in row
        # What it never had, or has not yet, is not there at all.
        filled.execute(
            "INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES (201, current_date + 9, 102)"
        )
        assert bolt.rows("SELECT id FROM radmeter.router_list ORDER BY 1") == [(202,), (203,)]
    filled.execute("UPDATE routers SET tenant_id = 101 WHERE id = 203")
    assert acme.rows(query) == [(*row[:-2], 101, "acme")]
    assert acme.rows("SELECT id FROM radmeter.former_routers()") == []


def test_notes_of_top_ups_are_the_operators(acme: Tenant) -> None:
    for column in ("note", "added_by", "*"):
        with pytest.raises(errors.InsufficientPrivilege):
            acme.rows(f"SELECT {column} FROM public.top_ups")


def test_a_login_that_is_not_bound_sees_nothing(database: str, filled: Connection) -> None:
    with tenant(database, filled, None) as nobody:
        for name in READABLE.keys() - {"radmeter.setting"}:
            assert nobody.rows(f"SELECT count(*) FROM {name}") == [(0,)], name


def test_row_security_off_is_an_error(acme: Tenant) -> None:
    acme.connection.execute("SET row_security = off")
    for name in READABLE.keys() - {"radmeter.tenant_sessions"}:
        with pytest.raises(errors.InsufficientPrivilege):
            acme.rows(f"SELECT {COLUMNS.get(name, '*')} FROM {name}")


def test_set_role_leads_nowhere_else(acme: Tenant, database: str, filled: Connection) -> None:
    count = "SELECT name FROM radmeter.tenants"
    with tenant(database, filled, "bolt") as bolt:
        for role in (bolt.role, "radmeter_owner", "radmeter_reader", "postgres"):
            with pytest.raises(errors.InsufficientPrivilege):
                acme.connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        acme.connection.execute("SET ROLE radmeter_tenant")
        assert acme.rows(count) == [("acme",)]
        acme.connection.execute("RESET ROLE")
        # Even a login that somebody made a member of another tenant's keeps to its own.
        filled.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(bolt.role), sql.Identifier(acme.role)))
        acme.connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(bolt.role)))
        assert acme.rows(count) == [("acme",)]


def test_a_pooler_sets_the_role_and_its_prepared_plans_follow(database: str, filled: Connection) -> None:
    with (
        tenant(database, filled, "acme") as acme,
        tenant(database, filled, "bolt") as bolt,
        login_role(filled) as pooler,
        ExitStack() as stack,
    ):
        for role in (acme.role, bolt.role):
            inherit = " WITH INHERIT FALSE" if filled.info.server_version >= 160_000 else ""
            filled.execute(
                sql.SQL("GRANT {} TO {}" + inherit).format(sql.Identifier(role), sql.Identifier(pooler))
            )
        if not inherit:
            filled.execute(sql.SQL("ALTER ROLE {} NOINHERIT").format(sql.Identifier(pooler)))
        opened = stack.enter_context(psycopg.connect(as_role(database, pooler), autocommit=True))
        with pytest.raises(errors.InsufficientPrivilege):
            opened.execute("SELECT FROM radmeter.tenants")
        opened.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(acme.role)))
        opened.execute("PREPARE names AS SELECT name FROM radmeter.tenants")
        opened.execute("PREPARE days AS SELECT count(*) FROM public.router_daily_usage")
        for _ in range(7):  # also the generic plan
            assert opened.execute("EXECUTE names").fetchall() == [("acme",)]
            assert opened.execute("EXECUTE days").fetchall() == [(3,)]
        opened.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(bolt.role)))
        assert opened.execute("EXECUTE names").fetchall() == [("bolt",)]
        assert opened.execute("EXECUTE days").fetchall() == [(3,)]
        opened.execute("RESET ROLE")
        with pytest.raises(errors.InsufficientPrivilege):
            opened.execute("EXECUTE names")


def test_a_role_without_inherit_sees_rows_only_after_set_role(database: str, filled: Connection) -> None:
    with tenant(database, filled, "acme") as acme:
        filled.execute(sql.SQL("ALTER ROLE {} NOINHERIT").format(sql.Identifier(acme.role)))
        if filled.info.server_version >= 160_000:
            filled.execute(
                sql.SQL("GRANT radmeter_tenant TO {} WITH INHERIT FALSE").format(sql.Identifier(acme.role))
            )
        with pytest.raises(errors.InsufficientPrivilege):
            acme.rows("SELECT FROM radmeter.tenants")
        acme.connection.execute("SET ROLE radmeter_tenant")
        assert acme.rows("SELECT name FROM radmeter.tenants") == [("acme",)]


def test_errors_tell_nothing_of_others_rows(acme: Tenant) -> None:
    """A function that fails for a row must not see rows of others."""
    for query in (
        "SELECT name::integer FROM radmeter.tenants WHERE name ~ '^b'",
        "SELECT FROM radmeter.tenants WHERE 1 / (id - 102) > 9",
        "SELECT FROM public.routers WHERE (name || 'x')::cidr IS NULL AND name ~ 'bolt'",
        "SELECT FROM public.router_daily_usage WHERE 1 / (bytes_in - 77700002) > 9",
        "SELECT FROM public.invoices WHERE 1 / (amount - 77700008) > 9",
        "SELECT FROM radmeter.tenant_sessions WHERE 1 / (bytes_in - 77700014) > 9",
        "SELECT FROM public.subscribers WHERE 1 / (length(username) - length('bolt bob')) > 9",
        "SELECT FROM radmeter.router_list WHERE 1 / (id - 202) > 9",
    ):
        assert acme.rows(query) == [], query


def test_statistics_show_no_values(acme: Tenant) -> None:
    for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        shown = acme.rows(f"SELECT s::text FROM {view} AS s WHERE schemaname IN ('public', 'radmeter')")
        assert shown == [], view
    with pytest.raises(errors.InsufficientPrivilege):
        acme.rows("SELECT FROM pg_statistic")


def test_objects_of_its_own_shadow_nothing(acme: Tenant) -> None:
    for statement in (
        "CREATE TEMPORARY TABLE tenant_logins (role_name name, tenant_id bigint)",
        "CREATE FUNCTION public.current_tenant() RETURNS bigint LANGUAGE sql AS 'SELECT 102'",
        "CREATE FUNCTION radmeter.mine() RETURNS bigint LANGUAGE sql AS 'SELECT 102'",
        "CREATE SCHEMA mine",
        "CREATE POLICY mine ON public.routers USING (true)",
        "ALTER TABLE public.routers DISABLE ROW LEVEL SECURITY",
        "ALTER ROLE CURRENT_USER BYPASSRLS",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            acme.connection.execute(statement.encode())
    acme.connection.execute("SET search_path = pg_temp, public, radmeter")
    acme.connection.execute("SET role = none")
    assert acme.rows("SELECT name FROM radmeter.tenants") == [("acme",)]


def test_large_objects_of_others_are_closed(acme: Tenant, filled: Connection) -> None:
    row = filled.execute("SELECT lo_from_bytea(0, 'bolt')").fetchone()
    assert row is not None
    with pytest.raises(errors.InsufficientPrivilege):
        acme.rows(f"SELECT lo_get({row[0]})")


def test_everybody_elses_plans_have_no_condition(filled: Connection) -> None:
    queries = {
        "public.router_daily_usage": "WHERE router_id = 201 AND lower(bytes_in::text) = 'x'",
        "public.routers": "WHERE mac = '02:00:00:00:aa:01'",
        "public.user_quota_usage": "WHERE username = 'alice'",
        "radmeter.router_list": "WHERE id = 201",
        "public.invoices": "WHERE username = 'alice'",
    }
    plans = {}
    for role in ("postgres", "radmeter_reader"):
        filled.execute(f"SET ROLE {role}".encode())
        filled.execute("SET enable_seqscan = off")
        plans[role] = {
            table: filled.execute(f"EXPLAIN (COSTS OFF) SELECT * FROM {table} {where}".encode()).fetchall()
            for table, where in queries.items()
        }
        filled.execute("RESET ROLE")
    assert plans["radmeter_reader"] == plans["postgres"]
    assert "Index Scan using routers_mac_key" in str(plans["radmeter_reader"]["public.routers"])


def test_every_table_that_is_granted_has_its_policies(connection: Connection) -> None:
    """A new table with a grant and without a policy fails here."""
    rows = connection.execute(
        """SELECT relnamespace::regnamespace || '.' || relname, relkind::text, relrowsecurity,
                  coalesce((SELECT array_agg(polname::text ORDER BY polname) FROM pg_policy
                            WHERE polrelid = pg_class.oid), '{}'),
                  coalesce(reloptions, '{}')
           FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
             AND relkind IN ('r', 'p', 'v', 'm', 'S')
             AND (has_table_privilege('radmeter_tenant', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
                  OR relkind <> 'S' AND has_any_column_privilege('radmeter_tenant', oid, 'SELECT, INSERT, UPDATE'))"""
    ).fetchall()
    assert {name for name, *_ in rows} == READABLE.keys()
    for name, kind, enabled, policies, options in rows:
        if kind == "v":
            assert options in (["security_invoker=true"], ["security_barrier=true"]), name
        else:
            assert (enabled, policies) == (True, ["everybody", "own_rows"]), name


def test_no_other_role_loses_a_row(filled: Connection) -> None:
    for role in ("radmeter_reader", "radmeter_noc"):
        filled.execute(f"SET ROLE {role}".encode())
        for table in (
            "public.routers",
            "public.router_daily_usage",
            "public.subscribers",
            "radmeter.router_list",
        ):
            seen = filled.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            filled.execute("RESET ROLE")
            assert seen == filled.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            filled.execute(f"SET ROLE {role}".encode())
        filled.execute("RESET ROLE")


@pytest.mark.parametrize(
    ("group", "whole"), [("radmeter_owner", True), ("pg_read_all_data", False), ("radmeter_tenant", False)]
)
def test_only_the_owner_dumps(
    database: str, filled: Connection, server: Server, group: str, whole: bool
) -> None:
    with login_role(filled, group) as role:
        dump = subprocess.run(
            [server.programs / "pg_dump", "--table=public.routers", as_role(database, role)],
            check=False,
            capture_output=True,
            text=True,
        )
    assert (dump.returncode == 0) is whole
    if whole:
        assert "bolt lobby" in dump.stdout
    elif group == "pg_read_all_data":
        assert "row-level security policy" in dump.stderr


def test_copy_from_is_for_the_owner(database: str, filled: Connection) -> None:
    filled.execute("CREATE ROLE importer_in_test")
    try:
        filled.execute("GRANT USAGE ON SCHEMA public TO importer_in_test")
        filled.execute("GRANT INSERT, SELECT ON public.routers TO importer_in_test")
        filled.execute("SET ROLE importer_in_test")
        filled.execute("INSERT INTO public.routers (name) VALUES ('inserted')")
        with pytest.raises(errors.FeatureNotSupported, match="row-level security"):
            filled.execute("COPY public.routers (name) FROM STDIN")
    finally:
        filled.execute("RESET ROLE; DROP OWNED BY importer_in_test; DROP ROLE importer_in_test")


def test_policies_are_made_again_and_only_if_they_are_not_so(database: str, connection: Connection) -> None:
    made = "SELECT polrelid::regclass::text, polname, xmin::text FROM pg_policy ORDER BY 1, 2"
    before = connection.execute(made.encode()).fetchall()
    assert radmeter(database, "migrate", "up", "--reapply", "--yes").exit_code == 0
    assert connection.execute(made.encode()).fetchall() == before
    connection.execute("DROP POLICY own_rows ON public.routers")
    connection.execute("ALTER TABLE public.plans DISABLE ROW LEVEL SECURITY")
    assert radmeter(database, "migrate", "up", "--reapply", "--yes").exit_code == 0
    again = connection.execute(made.encode()).fetchall()
    assert [row[:2] for row in again] == [row[:2] for row in before]
    assert manifest.as_text(connection) == manifest.FILE.read_text()
