"""Whether radmeter works, for a load balancer: /healthz and /readyz."""

from typing import NamedTuple

from radmeter.metrics.figures import Figures
from radmeter.units import counted, duration

LAG_SECONDS = 60.0


class Fault(NamedTuple):
    """Why it is not ready: what it is about (database, journal, lag), and what is wrong in words."""

    about: str
    text: str


def faults(figures: Figures, *, lag_seconds: float = LAG_SECONDS) -> list[Fault]:
    """Return why it is not ready; nothing if it is.

    Parameters
    ----------
    lag_seconds
        How late packets may be counted.
    """
    found = []
    if figures.database is None:
        found.append(Fault("database", figures.fault or "no database is given"))
    if figures.journal_fault is not None:
        found.append(Fault("journal", figures.journal_fault))
    journal = figures.journal
    if journal is not None:
        if journal.unreadable:
            found.append(
                Fault(
                    "journal",
                    f"{counted(journal.unreadable, 'segment')} cannot be read. See `radmeter status`",
                )
            )
        if journal.oldest_seconds is not None and journal.oldest_seconds > lag_seconds:
            found.append(
                Fault(
                    "lag",
                    f"{counted(journal.records or 0, 'record')} of this host's journal wait, the oldest for "
                    f"{duration(journal.oldest_seconds)}",
                )
            )
    if figures.database is not None:
        for node in figures.database["nodes"] or ():
            if node["lag"] is not None and node["lag"] > lag_seconds:
                found.append(
                    Fault("lag", f"the latest batch of {node['node']} was {duration(node['lag'])} late")
                )
    return found
