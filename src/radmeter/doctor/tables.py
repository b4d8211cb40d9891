"""Checks of the tables: triggers, other guarantees, autovacuum, sequences."""

from radmeter.doctor import freezing
from radmeter.doctor.commands import identifier
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.schema import guarantees
from radmeter.schema import triggers as schema_triggers
from radmeter.units import counted

HOT = (
    "public.radacct_open",
    "public.user_quota_usage",
    "public.router_daily_usage",
    "radmeter.journal_segment",
)

# With so many dead rows, a working autovacuum would have started long ago.
DEAD_ROWS = 10_000
DEAD_SHARE = 2.0


def triggers(context: Context) -> Findings:
    """Check that the triggers of counters, quotas, documents and audit_log fire for every writer."""
    tell = Teller("triggers")
    faults = 0
    for trigger, state in schema_triggers.faults(context.database):
        faults += 1
        counts = trigger in schema_triggers.COUNTING
        effect = "sessions are kept and not counted" if counts else "changes of quotas take effect late"
        if trigger in schema_triggers.DOCUMENTS:
            effect = "documents that were issued can be changed"
        if trigger in schema_triggers.AUDIT:
            effect = "audit_log can be changed, or grows without its chain"
        said = f"{trigger.name} on {trigger.table.removeprefix('public.')} {state}: {effect}"
        if state == schema_triggers.MISSING:
            yield tell.red(said, context.remedy.reapply())
        else:
            enable = f"ALTER TABLE {trigger.table} ENABLE TRIGGER {identifier(trigger.name)}"
            note = "Then run `radmeter verify --repair`." if counts else ""
            if trigger in schema_triggers.AUDIT:
                note = "Then run `radmeter audit verify`."
            yield tell.red(said, context.remedy.with_lock_timeout(enable), note=note)
    # session_replication_role = replica switches the triggers off. A database or a role can have it for all sessions.
    if (
        context.row("SELECT reset_val FROM pg_settings WHERE name = 'session_replication_role'")[0]
        != "origin"
    ):
        faults += 1
        statement = f"ALTER ROLE {identifier(context.facts.user)} RESET session_replication_role"
        yield tell.red(
            "session_replication_role is not origin: no trigger fires",
            context.remedy.psql(statement, user="postgres"),
        )
    if not faults:
        yield tell.green(
            f"{len(schema_triggers.COUNTING)} on radacct, "
            f"{len(schema_triggers.EXPECTED) - len(schema_triggers.COUNTING)} on other tables, enabled"
        )


def other_guarantees(context: Context) -> Findings:
    """Check the guarantees of `radmeter verify` that have no check of their own: hot lookups use an index."""
    tell = Teller("guarantees")
    broken = guarantees.check(context.database)
    # These have checks of their own, which say more.
    elsewhere = (guarantees.PARTITIONS, guarantees.TRIGGERS_FIRE, guarantees.MONEY_IS_DECIMAL)
    others = [each for each in broken if each.name not in elsewhere]
    for each in others:
        yield tell.red(f"broken: {each.name}: {each.fault}", context.remedy.reapply())
    if not others:
        yield tell.green("a user's usage and a router's MAC are index lookups")


def vacuum(context: Context) -> Findings:
    """Check that autovacuum is on for the hot tables and keeps up, and that no table needs freezing."""
    tell = Teller("autovacuum")
    faults = 0
    for setting in ("autovacuum", "track_counts"):
        if context.row("SELECT current_setting(%s)", setting)[0] != "on":
            faults += 1
            yield tell.red(
                f"{setting} is off: tables and indexes grow without end", alter_system(context, setting, "on")
            )
    rows = context.rows(
        """SELECT name, options, n_live_tup, n_dead_tup, last_autovacuum, last_vacuum,
                  (SELECT count(*) FROM pg_stat_progress_vacuum
                   WHERE relid = class.oid AND datname = current_database())
           FROM unnest(%s::text[]) AS name JOIN pg_class AS class ON class.oid = to_regclass(name)
           JOIN pg_stat_all_tables ON relid = class.oid
           CROSS JOIN LATERAL (SELECT coalesce(reloptions, '{}') AS options) AS given""",
        list(HOT),
    )
    detail = []
    for name, options, live, dead, automatic, manual, under_way in rows:
        last = max((at for at in (automatic, manual) if at), default=None)
        when = f"last {last:%Y-%m-%d %H:%M}" if last else "never yet"
        detail.append(f"{name}: {counted(live, 'row')}, {dead} dead, {when}")
        off = [
            option
            for option in options
            if option.partition("=")[::2] in (("autovacuum_enabled", "off"), ("autovacuum_enabled", "false"))
        ]
        if off:
            faults += 1
            yield tell.red(
                f"autovacuum is off for {name}",
                context.remedy.with_lock_timeout(f"ALTER TABLE {name} RESET (autovacuum_enabled)"),
            )
        if dead > DEAD_ROWS and dead > DEAD_SHARE * max(live, 1) and not under_way:
            faults += 1
            yield tell.yellow(
                f"{name} has {dead} dead rows for {live} live ones, vacuumed {when}",
                context.remedy.psql(f"VACUUM (ANALYZE) {name}"),
            )
    for finding in freezing.faults(context):
        faults += 1
        yield finding
    if not faults:
        dead, age = sum(row[3] for row in rows), freezing.oldest_age(context)
        yield tell.green(
            f"on, {dead:,} dead rows in {len(rows)} hot tables, oldest transaction {age:,} ago", *detail
        )


# For each sequence: the column that owns it.
SEQUENCES = """
SELECT format('%%I.%%I', schemaname, sequencename), last_value::numeric / max_value,
       data_type::text, max_value, refobjid::regclass::text, attname::text
FROM pg_sequences JOIN pg_class ON pg_class.oid = to_regclass(format('%%I.%%I', schemaname, sequencename))
LEFT JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i')
                       AND refclassid = 'pg_class'::regclass
LEFT JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
WHERE schemaname = 'radmeter' OR schemaname = 'public' AND refobjid = ANY (
    SELECT to_regclass(name)::oid FROM unnest(%s::text[]) AS name)
ORDER BY 2 DESC NULLS LAST"""
BIGINT_END = (1 << 63) - 1


def sequences(context: Context) -> Findings:
    """Find sequences that run out of numbers: an integer of an adopted table, or a bigint that was set too high."""
    tell = Teller("sequences")
    rows = context.rows(
        SEQUENCES,
        [
            "public.radacct",
            "public.radacct_open",
            "public.radacct_legacy",
            "public.routers",
            "public.plans",
            "public.rejected_packet",
            "public.accounting_anomaly",
            "public.audit_log",
        ],
    )
    near = [row for row in rows if row[1] is not None and row[1] > 0.5]
    for name, share, kind, most, table, column in near:
        said, note = f"{name} ({kind}) has used {float(share):.0%} of its numbers", ""
        if most < BIGINT_END or table is None:
            remedy = context.remedy.with_lock_timeout(f"ALTER SEQUENCE {name} AS bigint NO MAXVALUE")
        else:
            # There are no more numbers. Somebody has set it, or inserted a row with a huge number.
            highest = (
                f"SELECT coalesce(max({identifier(column)}), 0) + 1 FROM {table} "  # noqa: S608  # names of the catalog
                f"WHERE {identifier(column)} < {1 << 62}"
            )
            remedy = context.remedy.psql(f"SELECT pg_catalog.setval('{name}', ({highest}))")
            note = (
                "Nobody uses up a bigint: somebody has set the sequence too high. The command goes back to the highest "
                "number in the lower half."
            )
        yield tell.red(said, remedy, note=note) if share > 0.8 else tell.yellow(said, remedy, note=note)
    if not near:
        unseen = sum(row[1] is None for row in rows)
        yield tell.green(
            f"{len(rows)}, none past half"
            + (f" ({unseen} unused or hidden from this role)" if unseen else "")
        )


def alter_system(context: Context, name: str, value: str) -> str:
    """Return the command that changes a setting of the server permanently."""
    return context.remedy.psql(
        f"ALTER SYSTEM SET {name} = {value}",
        "SELECT pg_catalog.pg_reload_conf()",
        user=None if context.facts.is_superuser else "postgres",
    )
