"""Checks of an adoption that is not finished, and of a history that is not counted yet."""

from radmeter.adoption.states import goes_on_with
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.units import counted

tell = Teller("adoption")


def check(context: Context) -> Findings:
    """Say how far an adoption is, and the backfill after it."""
    if not context.there("radmeter.adoption"):
        return  # an older schema; the check of the migrations reports it
    row = context.database.execute(
        """SELECT state, began_at, swapped_at, (to_jsonb(adoption) ->> 'swap_postponed_at')::timestamptz
           FROM radmeter.adoption WHERE undone_at IS NULL ORDER BY id DESC LIMIT 1"""
    ).fetchone()
    if row is None:
        yield tell.green(_none(context))
        return
    state, began, swapped, postponed = row
    if state == "bounding" and postponed is not None:
        yield tell.yellow(
            f"begun {began:%Y-%m-%d %H:%M}; the swap is postponed since {postponed:%Y-%m-%d %H:%M}",
            context.remedy.radmeter(goes_on_with(state, postponed=True), owner=True),
        )
        return
    if state != "done":
        yield tell.red(
            f"begun {began:%Y-%m-%d %H:%M} and not finished ({state}); it can go on from there",
            context.remedy.radmeter(goes_on_with(state), owner=True),
        )
        return
    yield from _backfill(context, f"radacct adopted {swapped:%Y-%m-%d %H:%M}")


def reason_to_wait(context: Context) -> str | None:
    """Return why jobs do not run yet, or no longer: radacct is not radmeter's. None: they have to run."""
    if context.facts.has_stock_radacct:
        return "not needed while radacct is FreeRADIUS's own table"
    if context.there("radmeter.adoption") and context.rows(
        "SELECT FROM radmeter.adoption WHERE undone_at IS NULL AND state = 'undoing'"
    ):
        return "not needed while radacct is being given back (radmeter adopt --undo)"
    return None


def _none(context: Context) -> str:
    if not context.facts.has_stock_radacct:
        return "none: radacct is radmeter's own"
    (undone,) = context.row("SELECT max(undone_at) FROM radmeter.adoption")
    when = f", given back {undone:%Y-%m-%d %H:%M} (the adoption is undone)" if undone else ""
    return f"none: radacct is FreeRADIUS's own{when}"


def _backfill(context: Context, said: str) -> Findings:
    row = context.database.execute(
        """SELECT running, counted_sessions, waiting, counted_ids::float8 / greatest(ids, 1),
                  filled_ids::float8 / greatest(ids, 1)
           FROM radmeter.backfill_progress()"""
    ).fetchone()
    aside = 0
    if context.there("radmeter.backfill_rejected"):
        (aside,) = context.row("SELECT count(*) FROM radmeter.backfill_rejected WHERE left_at IS NULL")
    if aside:
        yield tell.yellow(
            f"{counted(aside, 'session')} of the history set aside: no router can have reported their values",
            context.remedy.radmeter("backfill --rejected", owner=True),
        )
    backfill = context.remedy.radmeter("backfill", owner=True)
    if row is None:
        yield tell.red(f"{said}: its history is not in the counters", backfill)
        return
    running, sessions, waiting, share_counted, filled = row
    how_far = f"{share_counted:.0%} of its history is in the counters, {filled:.0%} has its router"
    marked = share_counted >= 1 and not sessions and not aside
    if not running and marked and _has_history(context):
        yield tell.red(
            f"{said}: its history is marked as counted, and no session of it was counted", backfill
        )
    elif running:
        yield tell.green(f"{said}; radmeter backfill is running: {how_far}")
    elif share_counted < 1 or filled < 1 or waiting:
        yield tell.yellow(f"{said}: {how_far}", backfill)
    else:
        yield tell.green(f"{said}, history counted ({counted(sessions, 'session')})")


def _has_history(context: Context) -> bool:
    """Return whether an adopted session is among the ids that the backfill has done."""
    (found,) = context.row(
        """SELECT EXISTS (SELECT FROM public.radacct AS session, radmeter.backfill
                          WHERE session.adopted AND session.radacctid BETWEEN first_id AND last_id
                            AND NOT EXISTS (SELECT FROM radmeter.backfill_rejected AS rejected
                                            WHERE rejected.radacctid = session.radacctid))"""
    )
    return bool(found)
