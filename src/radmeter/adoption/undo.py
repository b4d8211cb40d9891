"""Gives FreeRADIUS its own radacct back: radmeter.adopt in the other direction, from wherever that got to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from radmeter.adoption import moves, state
from radmeter.adoption.columns import OURS
from radmeter.adoption.indexes import NAMES, progress_of
from radmeter.adoption.moves import TABLE
from radmeter.adoption.state import BEFORE_SWAP, Adoption
from radmeter.adoption.steps import DIVERT, LEGACY_CHECK, Refused, Steps, exclusively
from radmeter.adoption.swap import give_sequence
from radmeter.adoption.table import LEGACY, read
from radmeter.database.connection import translated_errors
from radmeter.database.lock_retries import create_index_gently, outside_transaction
from radmeter.jobs.runner import JOBS_LOCK
from radmeter.schema import upgrade
from radmeter.schema.revisions import note

Connection = psycopg.Connection[Any]

# What was counted goes with the sessions: rlm_sql will write them, and they would be counted again.
COUNTED = r"^(session_slice|session_month|adopted_\w+|backfill|backfill_\w+)$"


def undo(steps: Steps) -> list[str]:
    """Make radacct the table again that it was, with all its rows and those made since.

    Returns
    -------
    list of str
        The acctuniqueid of sessions that got another one, since a later session has theirs: ``<old id>-<radacctid>``.

    Raises
    ------
    Refused
        There is nothing to undo, or it can be no longer; nothing was touched.
    """
    connection = steps.connection
    with translated_errors():
        upgrade.take_upgrade_lock(connection, steps.said)
        adoption = state.in_force(connection)
        if adoption is None:
            raise nothing_to_undo(connection)
        steps.owner = _owner(connection)
        if adoption.state in BEFORE_SWAP:
            _turn_back(steps)
        elif adoption.state != "returning":
            _refuse(connection)
            with _alone(connection):
                _swap_back(steps, adoption)
        adoption = state.in_force(connection)
        assert adoption is not None
        _return_rows(steps)
        return _tidy(steps, adoption)


def nothing_to_undo(connection: Connection) -> Refused:
    """Return why there is nothing to undo."""
    before = state.latest(connection)
    if before is not None and before.undone_at is not None:
        return Refused(
            f"radacct was given back at {before.undone_at:%Y-%m-%d %H:%M} UTC: there is nothing to undo"
        )
    return Refused("radacct was not taken over by `radmeter adopt`: there is nothing to undo")


def _owner(connection: Connection) -> str:
    row = connection.execute(
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass('radmeter.adoption')"
    ).fetchone()
    assert row is not None
    return str(row[0])


def _turn_back(steps: Steps) -> None:
    """Before the swap: radacct takes open sessions again."""

    def work(connection: Connection) -> None:
        exclusively(connection)
        connection.execute(f"ALTER TABLE ONLY public.radacct DROP CONSTRAINT IF EXISTS {LEGACY_CHECK}")
        state.go_on(connection, "returning")

    steps.gently("turning back", work)


def _refuse(connection: Connection) -> None:
    """Refuse where something of the table is not there any more, or would be lost."""
    row = connection.execute(
        """SELECT (SELECT inhparent = to_regclass('public.radacct') FROM pg_inherits
                   WHERE inhrelid = to_regclass('public.radacct_legacy')),
                  isfinite(radmeter.sessions_complete_from()),
                  EXISTS (SELECT FROM radmeter.archived_partition WHERE state IN ('detached', 'archived', 'loaded'))"""
    ).fetchone()
    if row is None or row[0] is not True or row[1] or row[2]:
        raise Refused(
            "it cannot be undone any longer: a partition was dropped, detached or archived, and its sessions with it. "
            "`radmeter partitions restore` brings archived ones back"
        )
    for name, columns in connection.execute(
        """SELECT ev_class::regclass::text, string_agg(DISTINCT attname::text, ', ')
           FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
           JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
           JOIN pg_class AS view ON view.oid = ev_class
           WHERE classid = 'pg_rewrite'::regclass AND refobjid = 'public.radacct'::regclass
             AND (attname = ANY (%s) OR view.relkind = 'm') AND view.relnamespace <> 'radmeter'::regnamespace
           GROUP BY 1""",
        ([column.name for column in OURS],),
    ):
        raise Refused(
            f"the view {name} reads radmeter's columns ({columns}): DROP VIEW {name}; then undo again"
        )


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Keep radmeter's own writers out: shippers wait, and what they have stays in the journals."""
    locks = (
        ("%s", JOBS_LOCK, "`radmeter jobs run` is at work: stop it"),
        ("hashtextextended(%s, 0)", "radmeter.backfill", "`radmeter backfill` is at work: stop it"),
        ("hashtextextended(%s, 0)", "radmeter.ingest", "radmeter.ingest is at work: stop `radmeter ship`"),
    )
    taken: list[tuple[str, Any]] = []
    try:
        for key, value, reason in locks:
            deadline = time.monotonic() + 10
            while connection.execute(f"SELECT pg_try_advisory_lock({key})".encode(), (value,)).fetchone() != (
                True,
            ):
                if time.monotonic() > deadline:
                    raise Refused(f"{reason}, then undo again")
                time.sleep(0.05)
            taken.append((key, value))
        yield
    finally:
        if not connection.closed:
            for key, value in taken:
                connection.execute(f"SELECT pg_advisory_unlock({key})".encode(), (value,))


def _swap_back(steps: Steps, adoption: Adoption) -> None:
    steps.gently("beginning to undo", lambda connection: state.go_on(connection, "undoing"))
    unique = adoption.saved["unique"]
    if unique is not None:
        _tell_apart(steps, adoption)
        statement = unique["definition"].replace("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX CONCURRENTLY", 1)
        statement = statement.replace(" ON public.radacct ", f" ON {LEGACY} ", 1)
        with (
            steps.progress(f"index {unique['name']}", None, "blocks") as bar,
            progress_of(steps.connection, bar),
        ):
            create_index_gently(
                steps.connection,
                f"public.{unique['name']}",
                statement,
                patience_seconds=steps.patience_seconds,
                said=steps.said,
            )
    steps.said("swapping back")
    steps.gently("swapping back", lambda connection: _swap(connection, adoption, steps.owner))


def _tell_apart(steps: Steps, adoption: Adoption) -> None:
    """Ids that were given out again after a Stop: among the old rows the later session gets another."""

    def work(connection: Connection) -> None:
        rows = connection.execute(
            """UPDATE ONLY public.radacct_legacy AS later
               SET acctuniqueid = later.acctuniqueid || '-' || later.radacctid
               WHERE later.radacctid > %s AND EXISTS (
                   SELECT FROM ONLY public.radacct_legacy AS other
                   WHERE other.acctuniqueid = later.acctuniqueid AND other.radacctid < later.radacctid)
               RETURNING later.acctuniqueid""",
            (adoption.last_id,),
        ).fetchall()
        _remember(connection, [row[0] for row in rows])

    steps.gently("telling sessions apart", work)


def _remember(connection: Connection, renamed: list[str]) -> None:
    if renamed:
        connection.execute(
            """UPDATE radmeter.adoption
               SET saved = jsonb_set(saved, '{renamed}', coalesce(saved -> 'renamed', '[]') || %s::jsonb)
               WHERE undone_at IS NULL""",
            (Jsonb(renamed),),
        )


def _swap(connection: Connection, adoption: Adoption, owner: str) -> None:
    """The other way round: the partitions become tables that inherit from radacct, and are empty soon."""
    run = connection.execute
    run("SET LOCAL search_path = pg_catalog")
    run("SET LOCAL client_min_messages = warning")
    run("SET LOCAL lock_timeout = '5s'")
    run("LOCK TABLE public.radacct IN SHARE UPDATE EXCLUSIVE MODE")
    table = read(connection)
    assert table is not None
    run("SET LOCAL lock_timeout = '50ms'")
    run("LOCK TABLE public.radacct IN ACCESS EXCLUSIVE MODE")
    saved = adoption.saved
    former = sql.Identifier(saved["owner"])
    names = [
        row[0]
        for row in run(
            """SELECT format('%I.%I', nspname, relname) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
               JOIN pg_namespace ON pg_namespace.oid = relnamespace
               WHERE inhparent = 'public.radacct'::regclass ORDER BY 1"""
        )
    ]
    for name in names:
        run(f"ALTER TABLE public.radacct DETACH PARTITION {name}".encode())
    # A sequence that a column owns would go to the other schema with it.
    run(f"ALTER SEQUENCE {saved['sequence']} OWNED BY NONE".encode())
    run("ALTER TABLE public.radacct SET SCHEMA radmeter")
    run("ALTER TABLE public.radacct_legacy RENAME TO radacct")
    run(sql.SQL("ALTER TABLE public.radacct OWNER TO {}").format(former))
    run(f"ALTER TABLE public.radacct DROP CONSTRAINT {LEGACY_CHECK}")
    unique = saved["unique"]
    if unique is not None and unique["constraint"]:
        run(
            sql.SQL("ALTER TABLE public.radacct ADD CONSTRAINT {} UNIQUE USING INDEX {}").format(
                sql.Identifier(unique["constraint"]), sql.Identifier(unique["name"])
            )
        )
    run("ALTER TABLE public.radacct_open DROP CONSTRAINT radacct_open_is_open")
    for name in names:
        if name != LEGACY:
            run(f"ALTER TABLE {name} INHERIT public.radacct".encode())
    give_sequence(connection, saved["sequence"], TABLE, saved["owner"], saved["owner"])
    if owner != saved["owner"]:
        run(sql.SQL("GRANT SELECT, UPDATE ON public.radacct TO {}").format(sql.Identifier(owner)))
    run(DIVERT)
    for view in table.views:
        if not view.name.startswith("radmeter."):
            run(view.statement.encode())
    state.go_on(connection, "returning")
    note(connection, "adoption", "swapped back", None)


def _return_rows(steps: Steps) -> None:
    """The rows of the tables that inherit go back into radacct, in batches; an empty one is dropped."""
    connection = steps.connection
    while True:
        child = connection.execute(
            """SELECT format('%I.%I', nspname, relname) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
               JOIN pg_namespace ON pg_namespace.oid = relnamespace
               WHERE inhparent = 'public.radacct'::regclass ORDER BY 1 LIMIT 1"""
        ).fetchone()
        if child is None:
            return
        name = child[0]
        with steps.progress(
            f"moving the sessions of {name.removeprefix('public.')} back", None, "sessions"
        ) as bar:
            while True:

                def work(opened: Connection, name: str = name) -> int:
                    opened.execute("LOCK TABLE ONLY public.radacct IN SHARE ROW EXCLUSIVE MODE")
                    return _return_batch(opened, name)

                moved = steps.gently(f"moving sessions of {name} back", work)
                if bar is not None:
                    bar.advance(moved)
                if moved == 0:
                    break

        def drop(opened: Connection, name: str = name) -> None:
            # Not the whole of radacct is locked for others, if the table is empty still.
            exclusively(opened)
            if _return_batch(opened, name) == 0:
                opened.execute(f"ALTER TABLE {name} NO INHERIT public.radacct".encode())
                opened.execute(f"DROP TABLE {name}".encode())

        steps.gently(f"dropping {name}", drop)


def _return_batch(connection: Connection, name: str) -> int:
    """Move some rows; of two sessions with one id the open one, else the one in radacct, keeps it."""
    ids = [
        row[0]
        for row in connection.execute(
            sql.SQL(
                "SELECT radacctid FROM ONLY {} ORDER BY acctstoptime NULLS LAST, radacctid LIMIT %s"
            ).format(sql.Identifier(*name.split("."))),
            (moves.BATCH,),
        )
    ]
    if not ids:
        return 0
    values = {"ids": ids}
    origin = sql.Identifier(*name.split("."))
    renamed = connection.execute(
        sql.SQL(
            """UPDATE ONLY public.radacct AS known SET acctuniqueid = known.acctuniqueid || '-' || known.radacctid
               FROM ONLY {} AS session
               WHERE session.radacctid = ANY (%(ids)s) AND session.acctstoptime IS NULL
                 AND known.acctuniqueid = session.acctuniqueid
               RETURNING known.acctuniqueid"""
        ).format(origin),
        values,
    ).fetchall()
    renamed += connection.execute(
        sql.SQL(
            """UPDATE ONLY {origin} AS session SET acctuniqueid = session.acctuniqueid || '-' || session.radacctid
               WHERE session.radacctid = ANY (%(ids)s)
                 AND (EXISTS (SELECT FROM ONLY public.radacct AS known WHERE known.acctuniqueid = session.acctuniqueid)
                      OR EXISTS (SELECT FROM ONLY {origin} AS other
                                 WHERE other.acctuniqueid = session.acctuniqueid AND other.radacctid < session.radacctid
                                   AND other.radacctid = ANY (%(ids)s)))
               RETURNING session.acctuniqueid"""
        ).format(origin=origin),
        values,
    ).fetchall()
    _remember(connection, [row[0] for row in renamed])
    return moves.move_now(connection, name, TABLE, "true", values)


def _tidy(steps: Steps, adoption: Adoption) -> list[str]:
    """Take away what the adoption made, down to the columns."""
    for name in NAMES:
        outside_transaction(
            steps.connection,
            f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
            what=f"dropping the index {name}",
            patience_seconds=steps.patience_seconds,
            said=steps.said,
        )

    def work(connection: Connection) -> list[str]:
        run = connection.execute
        run("SET LOCAL client_min_messages = warning")
        exclusively(connection)
        run("DROP TRIGGER IF EXISTS radmeter_divert ON public.radacct")
        columns = [column.name for column in OURS] + list(adoption.saved["columns_added"])
        run(
            f"ALTER TABLE public.radacct {', '.join(f'DROP COLUMN IF EXISTS {name}' for name in columns)}".encode()
        )
        if steps.owner != adoption.saved["owner"]:
            run(sql.SQL("REVOKE ALL ON public.radacct FROM {}").format(sql.Identifier(steps.owner)))
        run("DROP TABLE IF EXISTS radmeter.radacct CASCADE")
        run("DELETE FROM radmeter.sql_file")  # views went with it
        tables = run(
            """SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
               WHERE relkind = 'r' AND relnamespace = 'radmeter'::regnamespace AND relname ~ %s""",
            (COUNTED,),
        ).fetchone()
        assert tables is not None
        run(f"TRUNCATE public.user_quota_usage, public.router_daily_usage, {tables[0]}".encode())
        row = run(
            "SELECT coalesce(saved -> 'renamed', '[]') FROM radmeter.adoption WHERE undone_at IS NULL"
        ).fetchone()
        # Not by radmeter.audit, which an adoption that has just begun has not made yet.
        run(
            """INSERT INTO public.audit_log (operator, action, detail)
               VALUES (nullif(current_setting('radmeter.operator', true), ''), 'adopt undo', '{"table": "radacct"}')"""
        )
        run(
            "UPDATE radmeter.adoption SET state = 'undone', undone_at = clock_timestamp() WHERE undone_at IS NULL"
        )
        note(connection, "adoption", "undone", None)
        return list(row[0]) if row else []

    renamed: list[str] = steps.gently("tidying up", work)
    return renamed
