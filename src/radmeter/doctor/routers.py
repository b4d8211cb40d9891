"""Checks of routers: floods of new ones, and routers that are named from several networks."""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller, first_of
from radmeter.units import counted

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
    clients = first_of([f"{client} (about {counted(keys, 'router')})" for client, _, keys, _ in rows])
    raised = 2 * max(keys for _, _, keys, _ in rows) + 10_000
    yield tell.yellow(
        f"the limit of new routers was reached by {clients}: their usage went to one router for each client",
        context.remedy.radmeter(f"limits set discoveries_per_client_hour {raised}"),
        *(
            f"client {client}: about {counted(keys, 'router')}, usage in #{router_id}, last at {at} UTC"
            for client, router_id, keys, at in rows
        ),
        note="If the routers are real, raise the limit, or import them with `radmeter routers import`.",
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
    router_id, _, _, total = rows[0]
    named = first_of([f"#{each} {name} from {' and '.join(found)}" for each, name, found, _ in rows], total)
    yield tell.yellow(
        f"packets from several networks name {counted(total, 'router')} at the same time: {named}. "
        "Any RADIUS client may speak for them",
        # Not the command that binds it: one of the networks may be a forger's.
        context.remedy.radmeter(f"routers show '#{router_id}'"),
        *(f"#{each} {name}: {', '.join(found)}" for each, name, found, _ in rows),
        note="Bind each router to the networks that are right, with `radmeter routers set` and its option --clients.",
    )
