"""A table that is being taken over, or whose history is not counted yet."""

from radmeter.doctor.finding import Findings, Teller
from radmeter.doctor.look import Look

tell = Teller("adoption")

AT_WORK = ("preparing", "opening", "bounding", "undoing", "returning")


def check(look: Look) -> Findings:
    """Say how far an adoption is, and the backfill after it."""
    if not look.there("radmeter.adoption"):
        return  # an older schema, which the check of the migrations names
    row = look.database.execute(
        "SELECT state, began_at, swapped_at FROM radmeter.adoption WHERE undone_at IS NULL ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if row is None:
        yield tell.green("none: radacct is radmeter's own")
        return
    state, began, swapped = row
    if state in AT_WORK:
        undo = " --undo" if state in ("undoing", "returning") else ""
        yield tell.red(
            f"begun {began:%Y-%m-%d %H:%M} and not finished ({state}); it goes on where it was",
            look.radmeter(f"adopt --from radacct{undo}", owner=True),
        )
        return
    if swapped is None:
        yield tell.green(f"state {state}")
        return
    yield from _backfill(look, f"radacct taken over {swapped:%Y-%m-%d %H:%M}")


def _backfill(look: Look, said: str) -> Findings:
    row = look.database.execute(
        """SELECT completed_at, counted_rows, filled_rows,
                  (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(counted) AS part)
                      / greatest(last_id - first_id + 1, 1)::numeric
           FROM radmeter.backfill"""
    ).fetchone()
    backfill = look.radmeter("backfill", owner=True)
    if row is None:
        yield tell.red(f"{said}: its history is not in the counters", backfill)
    elif row[0] is None:
        yield tell.yellow(f"{said}: {min(row[3], 1):.0%} of its history is in the counters", backfill)
    else:
        yield tell.green(f"{said}, history counted ({row[1]:,} rows)")
