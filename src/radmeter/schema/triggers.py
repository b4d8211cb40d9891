"""The triggers that keep the counters: which there have to be, and which of them do not fire."""

from typing import NamedTuple

from radmeter.database.connection import Connection


class Trigger(NamedTuple):
    """A trigger that has to be there, and to fire for whoever writes to its table."""

    table: str
    name: str


class Fault(NamedTuple):
    """A trigger that does not fire, and why: one of the three below."""

    trigger: Trigger
    state: str


MISSING, DISABLED, ON_REPLICAS = "is missing", "is disabled", "fires on replicas only"

EXPECTED = (
    Trigger("public.radacct", "_100_count_inserted"),
    Trigger("public.radacct", "_100_count_updated"),
)


def faults(connection: Connection) -> list[Fault]:
    """Return the expected triggers that do not fire, in the order of the list."""
    found = []
    for trigger in EXPECTED:
        row = connection.execute(
            "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = %s", trigger
        ).fetchone()
        if row is None:
            found.append(Fault(trigger, MISSING))
        elif row[0] not in ("O", "A"):  # these fire for what an ordinary session writes
            found.append(Fault(trigger, DISABLED if row[0] == "D" else ON_REPLICAS))
    return found
