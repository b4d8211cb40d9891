"""`radmeter routers assign`: whose a router is from a day on."""

import datetime

import click

from radmeter import output
from radmeter.cli.common import TEXT, existing_database, with_settings
from radmeter.cli.months import DAY
from radmeter.cli.router_coa import WHICH
from radmeter.config import Settings
from radmeter.units import counted, verb


@click.command(
    epilog="""\b
Examples:
  radmeter routers assign lobby --tenant acme --from 2026-01-01
  radmeter routers assign lobby --none --from 2026-07-01
"""
)
@click.argument("router", metavar=WHICH, type=TEXT)
@click.option("--tenant", type=TEXT, metavar="TENANT", help="The tenant, by name or number.")
@click.option("--none", "nobody", is_flag=True, help="Nobody's from this day on.")
@click.option(
    "--from",
    "from_day",
    type=DAY,
    metavar="DAY",
    help="The first day, in the router's time zone.  [default: today]",
)
@with_settings("state", "dsn")
def assign(
    settings: Settings, router: str, tenant: str | None, nobody: bool, from_day: datetime.datetime | None
) -> None:
    """Say whose a router is from a day on, until the day of the next assignment. The same day again replaces it.

    Each tenant is billed for the days on which the router is its own. The day may lie in a month that is closed:
    issued documents stay as they are, and the next ones of both tenants have lines for the difference. `radmeter
    routers show` shows the assignments of a router, `radmeter tenants show` those of a tenant.
    """
    from radmeter.billing import assignments
    from radmeter.database.operator import connect_as_operator
    from radmeter.database.views import reading
    from radmeter.routers.lookup import find_router

    if nobody == (tenant is not None):
        raise click.UsageError("give --tenant or --none")
    with existing_database(settings) as dsn:
        with reading(dsn) as reader:
            found = find_router(reader, router)
        with connect_as_operator(dsn) as connection:
            done = assignments.assign(
                connection, found.id, tenant, None if from_day is None else from_day.date()
            )
    whose = "nobody's" if tenant is None else f"of tenant {tenant!r}"
    until = "" if done.until_day is None else f", until the assignment of {done.until_day}"
    already = "" if done.changed else " already"
    output.say(f"router #{found.id} {found.by_mac!r} is {whose} from {done.since} on{already}{until}")
    if done.closed_months:
        adjusts = verb(done.closed_months, "is", "are")
        output.say(
            f"{counted(done.closed_months, 'closed month')} {adjusts} adjusted: the next documents have lines for the "
            "days that change hands, and what was issued stays as it is",
            err=True,
        )
