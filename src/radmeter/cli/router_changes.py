"""`radmeter routers rename|set|retire|merge|qualify`: change a router. Its usage stays with it."""

from datetime import datetime
from typing import Any

import click

from radmeter import output
from radmeter.cli.common import (
    TEXT,
    confirm,
    emit,
    emit_one,
    existing_database,
    format_option,
    reading_database,
    with_settings,
)
from radmeter.cli.months import DAY
from radmeter.cli.router_coa import COA_OPTIONS, WHICH, coa_options, set_coa
from radmeter.config import Settings
from radmeter.printable import printable
from radmeter.units import counted

PREVIEW = (
    "router",
    "status",
    "mac",
    "nas_identifier",
    "ip_address",
    "timezone",
    "open_sessions",
    "closed_sessions",
    "days",
    "bytes_total",
)
REALM = ("tenant_id", "tenant", "realm", "from_day", "routers")
# With --tenant: the router belongs to no tenant.
NOBODY = ("none", "")
# A preview counts no further.
COUNTED = 100_000

_GIVEN = (
    click.option("--mac", type=TEXT, help="MAC address, in any of the usual forms."),
    click.option("--nas-identifier", type=TEXT, help="The NAS-Identifier it sends."),
    click.option(
        "--ip", "ip_address", type=TEXT, help="The source address of its packets, if no other router has it."
    ),
    click.option(
        "--timezone", type=TEXT, help="IANA name of its time zone. Its days begin at midnight there."
    ),
)


def given_options(command: Any) -> Any:
    """Add the options for a router's keys and time zone."""
    for option in reversed(_GIVEN):
        command = option(command)
    return command


@click.command(epilog="Example: radmeter routers rename lobby entrance")
@click.argument("router", metavar=WHICH, type=TEXT)
@click.argument("name", type=TEXT)
@with_settings("state", "dsn")
def rename(settings: Settings, router: str, name: str) -> None:
    """Give a router another name. Its usage stays with it.

    Packets that find it by its old name still do: if it has no NAS-Identifier, the old name becomes it.
    """
    from radmeter.csv_lines import BadLine
    from radmeter.database.views import reading
    from radmeter.routers.changes import writing
    from radmeter.routers.inventory import Line
    from radmeter.routers.lookup import find_router

    checked = Line.checked({"name": name}, {}).name
    if checked is None:
        raise BadLine("the name is empty")
    with existing_database(settings) as dsn:
        with reading(dsn) as connection:
            found = find_router(connection, router)
        if found.name == checked:
            output.say(f"router #{found.id} is {checked!r} already")
            return
        with writing(dsn) as writer:
            identifier = writer.rename(found.id, checked)
    output.say(f"router #{found.id} {found.name!r} is {checked!r} from now on")
    if identifier is not None:
        output.say(f"its NAS-Identifier is {identifier!r}, so that packets with that name find it")


@click.command("set", epilog="Example: radmeter routers set lobby --mac AA-BB-CC-DD-EE-FF --timezone UTC")
@click.argument("router", metavar=WHICH, type=TEXT)
@given_options
@click.option(
    "--clients",
    metavar="ADDRESS,NETWORK,..|any",
    type=TEXT,
    help="The RADIUS clients whose packets may name this router. Packets of others are set aside.",
)
@click.option(
    "--plausible-rate",
    "plausible_mbit_per_second",
    metavar="MBIT|default",
    type=TEXT,
    help="More than one user can use in a direction, in Mbit/s. It tells wraps of 32-bit counters.",
)
@click.option(
    "--tenant",
    metavar="TENANT|none",
    type=TEXT,
    help="Whose it is from today on, by name or number: see `radmeter routers assign`.",
)
@click.option(
    "--keep-mac",
    is_flag=True,
    help="Packets with the old MAC still belong to this router (late packets, two radios).",
)
@coa_options
@with_settings("state", "dsn", "coa_key_file")
def set_(settings: Settings, router: str, keep_mac: bool, tenant: str | None, **options: Any) -> None:
    """Change a router's keys, time zone, RADIUS clients, plausible rate, tenant, or how requests reach it.

    An empty value (--mac '', --coa-address '') removes it.

    Its usage stays with it, each byte on the day on which it was counted. Later packets count by the new time zone.
    After a change of MAC, a device that still sends the old MAC is another router (if its NAS-Identifier and address
    are not this router's), unless --keep-mac is given. If the new MAC has already sent packets, it was discovered as
    another router: merge that one first.

    By default, packets of any RADIUS client may name a router. With --clients, its packets count only if they come
    from one of these source addresses. Give all: the address of a proxy too, and the old one while a site moves.
    The command says if packets came lately from elsewhere. Those are set aside, up to the limits of a client and
    hour (`radmeter limits list`). What is beyond them cannot be salvaged, so its usage is lost: look at
    `radmeter rejected list` soon.

    The options that begin with --coa, and --vendor, say how Disconnect- and CoA-Requests reach the router. Without
    --coa-secret-file it gets none. The secret is stored encrypted, with the key of --coa-key-file; if nobody made
    that key yet, it is made. `radmeter routers test-coa` tries the settings.
    """
    from radmeter.billing import assignments
    from radmeter.database.operator import connect_as_operator
    from radmeter.database.views import reading
    from radmeter.routers.changes import writing
    from radmeter.routers.inventory import DEFAULT, Line
    from radmeter.routers.lookup import find_router, networks, networks_outside

    coa = {name: options.pop(name) for name in COA_OPTIONS}
    coa = {name: value for name, value in coa.items() if value is not None}
    given: dict[str, str | None] = options
    named = {column: text for column, text in given.items() if text is not None}
    if not named and not coa and tenant is None:
        raise click.UsageError(
            "give at least one of --mac, --nas-identifier, --ip, --timezone, --clients, --plausible-rate, --tenant, "
            "--vendor, --swapped, --message-authenticator and those that begin with --coa"
        )
    if keep_mac and "mac" not in named:
        raise click.UsageError("--keep-mac goes with --mac")
    with existing_database(settings) as dsn:
        with reading(dsn) as connection:
            found = find_router(connection, router)
            lately = networks(connection, found)
        # First, because more can be wrong with these.
        changed = bool(coa) and set_coa(settings, dsn, found.id, coa)
        if tenant is not None:
            whose = None if tenant.lower() in NOBODY else tenant
            with connect_as_operator(dsn) as operator:
                changed = assignments.assign(operator, found.id, whose, None).changed or changed
        if not named:
            output.say(f"router #{found.id} {found.name!r} {'is changed' if changed else 'is unchanged'}")
            return
        with writing(dsn) as writer:
            line = Line.checked(named, writer.timezones() if given["timezone"] else {})
            changes: dict[str, Any] = {column: getattr(line, column) for column in named}
            if "clients" in changes:
                changes["clients"] = line.client_networks or None
                _tell_outside(networks_outside(lately, changes["clients"]) if changes["clients"] else [])
            if changes.get("plausible_mbit_per_second") == DEFAULT:
                changes["plausible_mbit_per_second"] = None
            changed = writer.change(found.id, changes, keep_mac=keep_mac) or changed
    output.say(f"router #{found.id} {found.name!r} {'is changed' if changed else 'is unchanged'}")


def _tell_outside(outside: list[str]) -> None:
    """Say that packets which came lately would be set aside from now on."""
    if outside:
        output.say(
            f"packets came lately from {', '.join(outside)}, where none of these clients is: from now on such packets "
            "are set aside. If that is a mistake, give all clients, then run `radmeter rejected retry --all`",
            err=True,
        )


@click.command(epilog="Example: radmeter routers retire lobby --yes")
@click.argument("router", metavar=WHICH, type=TEXT)
@click.option("--undo", is_flag=True, help="Put it in use again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def retire(settings: Settings, router: str, undo: bool, yes: bool) -> None:
    """Take a router out of use. It asks first. Its usage is kept, and no other router can have its name.

    If it sends again, it is still found by its MAC, so that nothing is lost. It is no longer found by its
    NAS-Identifier, name or address, because the next device at the site may have them.
    """
    from radmeter.database.views import reading
    from radmeter.routers.changes import writing
    from radmeter.routers.lookup import activity, find_router

    with existing_database(settings) as dsn:
        with reading(dsn) as connection:
            found = find_router(connection, router)
            sessions = activity(connection, found)["open_sessions"]
        if not undo and found.status != "retired":
            confirm(f"Retire {found}? It is then found by its MAC only.", yes)
        with writing(dsn) as writer:
            changed = writer.retire(found.id, undo=undo)
    if not changed:
        output.say(f"router #{found.id} {found.name!r} {'is in use' if undo else 'was retired'} already")
        return
    output.say(f"router #{found.id} {found.name!r} is {'in use again' if undo else 'retired'}")
    if sessions and not undo:
        output.say(f"it has {counted(sessions, 'open session')}, still counted")


@click.command(epilog="Example: radmeter routers merge '#17' lobby --yes")
@click.argument("source", metavar="FROM", type=TEXT)
@click.argument("target", metavar="INTO", type=TEXT)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def merge(settings: Settings, source: str, target: str, yes: bool) -> None:
    """Make the router FROM part of the router INTO: its sessions, its usage of each day, and its anomalies.

    From then on packets with the MAC, NAS-Identifier or address of FROM count for INTO. FROM stays as a retired router
    that points to INTO. Usage stays on the date on which it was counted, even if the time zones differ. A merge cannot
    be undone.

    It can run while packets arrive. All open sessions move at once, about 25,000 a second, and the shipper waits that
    long (packets are answered and written to the journal meanwhile). Closed sessions move in batches of 1,000; the
    shipper goes on between them. Until all have moved, a part of the usage is still FROM's. If the merge is
    interrupted, run it again and it goes on.
    """
    from radmeter.database.views import NotKnown, reading
    from radmeter.progress import progress
    from radmeter.routers.changes import writing
    from radmeter.routers.lookup import find_router, merge_preview

    with existing_database(settings) as dsn:
        with reading(dsn) as connection:
            merged, into = find_router(connection, source, follow=False), find_router(connection, target)
            if merged.id == into.id:
                raise NotKnown(f"{source!r} and {target!r} are the same router, {into}: name two")
            started = merged.merged_into == into.id
            if started and merged.merged_at is not None:
                output.say(f"router {merged} was merged into {into} already")
                return
            if not started and not yes:
                rows = [merge_preview(connection, router, COUNTED) for router in (merged, into)]
        if not started and not yes:
            # One below the other, because side by side they are wider than a terminal.
            for row in rows:
                emit_one(_shown(row), "table", columns=PREVIEW)
                output.say()
            if merged.timezone != into.timezone:
                output.say(
                    f"Days so far stay in {merged.timezone}. Later days are in {into.timezone}.", err=True
                )
            confirm("Merge the first into the second? It cannot be undone.", yes)
        moved = 0
        with writing(dsn) as writer, progress("moving sessions", unit="sessions") as bar:
            for count in writer.merge(merged.id, into.id):
                moved += count
                bar.advance(count)
    output.say(f"merged {merged} into {into}: {counted(moved, 'session')} moved")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    closed = row["closed_sessions"]
    return row | {"closed_sessions": f"more than {COUNTED}" if closed > COUNTED else closed}


@click.command(
    epilog="""\b
Examples:
  radmeter routers qualify --tenant acme --realm hotel.example.org
  radmeter routers qualify --tenant acme --realm hotel --from 2027-01-01
  radmeter routers qualify --tenant acme --off
  radmeter routers qualify
"""
)
@click.option("--tenant", type=TEXT, metavar="TENANT", help="The tenant of the routers, by name or number.")
@click.option("--realm", type=TEXT, help="What names without a realm get: alice becomes alice@REALM.")
@click.option("--off", is_flag=True, help="Names stay as routers send them.")
@click.option(
    "--from",
    "from_day",
    type=DAY,
    metavar="DAY",
    help="When it begins; two days ahead at least.  [default: the next first of a month]",
)
@format_option
@with_settings("state", "dsn", "read_dsn")
def qualify(
    settings: Settings,
    tenant: str | None,
    realm: str | None,
    off: bool,
    from_day: datetime | None,
    output_format: str,
) -> None:
    """Tell apart users of two tenants who have the same name: alice counts as alice@REALM at a tenant's routers.

    Without --tenant it shows what is set. `radmeter routers assign` says to whom a router belongs.

    It begins with each user's first quota period that begins on DAY or later. Counters that exist keep their names, and
    so do sessions that are open then, to their end. A name with @ or a backslash stays as it is. A user with a one-time
    plan keeps the name. Plans go by the new name: give alice@REALM a plan before.
    """
    from radmeter.billing.tenants import find
    from radmeter.database.operator import connect_as_operator
    from radmeter.database.views import reading
    from radmeter.routers.realms import qualify_usernames, realms, users_without_plan

    if tenant is None:
        if realm is not None or off or from_day is not None:
            raise click.UsageError("give --tenant")
        with reading_database(settings) as dsn, reading(dsn) as reader:
            emit(realms(reader), output_format, columns=REALM)
        return
    if (realm is not None) == off:
        raise click.UsageError("give --realm or --off")
    with existing_database(settings) as dsn:
        with reading(dsn) as reader:
            owner = find(reader, tenant)
        with connect_as_operator(dsn) as connection:
            day = qualify_usernames(
                connection, owner["id"], realm, None if from_day is None else from_day.date()
            )
            without = [] if realm is None else users_without_plan(connection, owner["id"], realm)
    name = "their names as sent" if realm is None else f"name@{realm}"
    output.say(
        f"users at routers of tenant {owner['name']!r} have {name} from {day} on, each from the next period that begins"
    )
    if without:
        shown = ", ".join(map(printable, without[:5])) + (", .." if len(without) > 5 else "")
        output.say(
            f"{counted(len(without), 'user')} with a plan, but none under the new name: {shown}", err=True
        )
