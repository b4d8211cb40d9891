"""Checks of routers: floods of new ones, and routers that are named from several networks."""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.printable import printable
from radmeter.units import counted

SHOWN = 3
LISTED = 100


def check(context: Context) -> Findings:
    """Find floods of new routers, and routers that are named from several networks."""
    tell = Teller("routers")
    found = [*_discovery(context, tell), *_networks(context, tell)]
    yield from found or [tell.green("none named from two networks at once, no limit reached")]


def _discovery(context: Context, tell: Teller) -> Findings:
    """Find RADIUS clients that reached the limit of discoveries within a day."""
    if not context.there("radmeter.discovery_limits"):
        return
    rows = context.rows(
        """SELECT client, router_id, keys, to_char(beyond_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
           FROM radmeter.discovery_limits WHERE beyond_until > now() - interval '1 day'
           ORDER BY keys DESC, client LIMIT %s""",
        LISTED,
    )
    if not rows:
        return
    clients = ", ".join(
        f"{printable(client)} (about {counted(keys, 'router')})" for client, _, keys, _ in rows[:SHOWN]
    )
    raised = 2 * max(keys for _, _, keys, _ in rows) + 10_000
    yield tell.yellow(
        f"the limit of new routers was reached by {clients}{_more(rows)}: their usage went to one router for each "
        "client. If they are real, import them (radmeter routers import) or raise the limit",
        context.remedy.radmeter(f"limits set discoveries_per_client_hour {raised}"),
        *(
            f"client {printable(client)}: about {counted(keys, 'router')}, usage in #{router_id}, last at {at} UTC"
            for client, router_id, keys, at in rows
        ),
    )


def _networks(context: Context, tell: Teller) -> Findings:
    """Find routers that packets from several networks name at the same time, and that are not bound to clients."""
    if not context.there("radmeter.router_networks"):
        return
    rows = context.rows(
        """SELECT router.id, router.name, array_agg(host(known.network) || '/' || masklen(known.network)
                                                    ORDER BY known.network), count(*) OVER ()
           FROM radmeter.router_networks AS known JOIN public.routers AS router ON router.id = known.router_id
           WHERE known.elsewhere_too AND known.last_seen > now() - interval '1 day'
             AND router.clients IS NULL AND NOT starts_with(coalesce(router.discovery_key, ''), 'limit:')
           GROUP BY router.id HAVING count(*) > 1 ORDER BY router.id LIMIT %s""",
        LISTED,
    )
    if not rows:
        return
    router_id, _, first, total = rows[0]
    named = ", ".join(
        f"#{each} {printable(name)} from {' and '.join(found)}" for each, name, found, _ in rows[:SHOWN]
    )
    yield tell.yellow(
        f"packets from several networks name {counted(total, 'router')} at the same time: {named}"
        f"{f' and {total - SHOWN} more' if total > SHOWN else ''}. Any RADIUS client may speak for them. Bind each to "
        f"the networks that are right: radmeter routers set '#{router_id}' --clients {first[0]},..",
        # Not the command that binds it: one of the networks may be a forger's.
        context.remedy.radmeter(f"routers show '#{router_id}'"),
        *(f"#{each} {printable(name)}: {', '.join(found)}" for each, name, found, _ in rows),
    )


def _more(rows: list[tuple[object, ...]]) -> str:
    return f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
