"""Checks that endpoints of webhooks get what they want to know."""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.units import counted, duration, verb

tell = Teller("webhooks")

# An endpoint that takes nothing for so long needs a person. The message is tried for three days.
LATE_SECONDS = 3600.0


def check(context: Context) -> Findings:
    """Find endpoints that are switched off or late, and deliveries that were given up."""
    rows = context.rows(
        """SELECT id, state, waiting, dead, extract(epoch FROM now() - waiting_since)::float8
           FROM radmeter.webhooks WHERE state <> 'retired' ORDER BY id"""
    )
    faults = []
    for webhook, state, waiting, dead, seconds in rows:
        if state == "off":
            faults.append(
                tell.yellow(
                    f"endpoint {webhook} gets nothing: it answered 410 Gone",
                    context.remedy.radmeter(f"webhooks enable {webhook}"),
                    note=f"If it is not wanted any more: radmeter webhooks retire {webhook}",
                )
            )
        elif waiting and seconds > LATE_SECONDS:
            many = counted(waiting, "delivery", "deliveries")
            faults.append(
                tell.yellow(
                    f"endpoint {webhook}: {many} {verb(waiting, 'waits', 'wait')}, the oldest for {duration(seconds)}",
                    context.remedy.radmeter(f"webhooks test {webhook}"),
                )
            )
        if dead:
            many = counted(dead, "delivery", "deliveries")
            faults.append(
                tell.yellow(
                    f"endpoint {webhook}: {many} {verb(dead, 'was', 'were')} given up",
                    context.remedy.radmeter(f"webhooks queue list --only dead --webhook {webhook}"),
                )
            )
    told = counted(len(rows), "endpoint") + ", nothing is late or given up" if rows else "no endpoints"
    yield from faults or [tell.green(told)]
