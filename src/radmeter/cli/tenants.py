"""`radmeter tenants`: hosts who pay, or are paid, for what their routers carried, and what that costs."""

import datetime
from typing import Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    Row,
    emit,
    emit_json,
    emit_one,
    existing_database,
    format_option,
    is_short,
    list_options,
    plain,
    reading_database,
    utc_option,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.months import DAY
from radmeter.cli.tenant_logins import list_logins, login
from radmeter.config import Settings
from radmeter.units import counted

COLUMNS = (
    "id",
    "name",
    "currency",
    "timezone",
    "legal_name",
    "address",
    "email",
    "tax_id",
    "tax_rate",
    "tax_rule",
    "language",
    "issuer",
    "note",
    "routers",
    "users",
    "rate_from",
    "last_closed",
    "created_at",
    "updated_at",
    "retired_at",
)
SHORT = ("name", "currency", "timezone", "routers", "users", "rate_from", "last_closed")
RATE = (
    "from_day",
    "until_day",
    "unit",
    "price",
    "tiers",
    "tier_mode",
    "included",
    "minimum",
    "maximum",
    "share",
    "base_fee",
    "tax_rate",
    "tax_rule",
    "changed_at",
)
RATE_SHORT = ("from_day", "until_day", "terms")
ROUTERS = ("id", "router", "from_day", "until_day")

_TENANT = (
    click.option("--legal-name", type=TEXT, help="The name on documents.  [default: NAME]"),
    click.option("--address", type=TEXT, help="The address on documents, with ends of lines."),
    click.option("--email", type=TEXT, help="Where documents go."),
    click.option("--tax-id", type=TEXT, help="The number of the tenant for value added tax."),
    click.option("--tax-rate", type=TEXT, metavar="PERCENT", help="Tax of its documents, such as 19."),
    click.option("--tax-rule", type=TEXT, help="Why it is this rate, such as 'reverse charge'."),
    click.option("--language", type=TEXT, help="Of its documents, such as en or de."),
    click.option("--issuer", type=TEXT, help="Who issues its documents (`radmeter billing issuers`)."),
    click.option("--note", type=TEXT, help="A note for people."),
)


def tenant_options(command: Any) -> Any:
    """Add the options for a tenant's address, tax and language."""
    for option in reversed(_TENANT):
        command = option(command)
    return command


@group(epilog="Example: radmeter tenants add acme --currency EUR --timezone Europe/Berlin")
def tenants() -> None:
    """Add, list and change tenants, and say what their usage costs.

    A tenant is a host on whose premises routers are. `radmeter routers assign` says whose a router is from a day on,
    `radmeter users set --tenant` whose a user is. `radmeter billing close` makes documents of a month. audit_log keeps
    the changes. TENANT is a name, or the number of a tenant.
    """


@tenants.command("add", epilog="Example: radmeter tenants add acme --currency EUR --timezone Europe/Berlin")
@click.argument("name", type=TEXT)
@click.option("--currency", type=TEXT, required=True, metavar="CODE", help="ISO 4217, such as EUR.")
@click.option(
    "--timezone",
    type=TEXT,
    metavar="ZONE",
    help="IANA name. A month is closed only after it has ended here too.  [default: the installation's]",
)
@tenant_options
@with_settings("state", "dsn")
def add(settings: Settings, name: str, **given: str | None) -> None:
    """Add the tenant NAME. Its amounts have the digits that ISO 4217 gives the currency: JPY 0, EUR 2, KWD 3."""
    from radmeter.billing import tenants as write
    from radmeter.database.operator import connect_as_operator

    checked = write.values({"name": name, **given})
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        tenant_id = write.add(connection, checked.pop("name"), checked)
    digits = counted(checked["digits"], "digit")
    output.say(f"added tenant #{tenant_id} {name!r}: {checked['currency']}, {digits} after the point")


@tenants.command("list", epilog="Example: radmeter tenants list --format json")
@click.option("--retired", is_flag=True, help="Retired tenants too.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(settings: Settings, retired: bool, output_format: str) -> None:
    """List tenants by name, how many routers and users they have today, and the first day of the rate in force.

    A tenant without a currency is not billed.
    """
    from radmeter.billing import tenants as read
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = read.list_tenants(connection, retired=retired)
    if is_short(output_format):
        rows = [{**row, "last_closed": _month(row["last_closed"])} for row in rows]
    emit(rows, output_format, columns=COLUMNS, short=SHORT)


@tenants.command("show", epilog="Example: radmeter tenants show acme --format json")
@click.argument("tenant", type=TEXT)
@utc_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def show(settings: Settings, tenant: str, output_format: str) -> None:
    """Show everything about TENANT: its rates, and which routers were, are and will be its own.

    until_day is the first day that is another rate's, or another tenant's.
    """
    from radmeter.billing import tenants as read
    from radmeter.database.views import reading
    from radmeter.routers.lookup import names_by_mac

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        row = read.find(connection, tenant)
        rates = read.rates(connection, row["id"])
        routers = read.routers(connection, row["id"])
        names = names_by_mac(connection, {each["id"] for each in routers})
    if output_format == "json":
        emit_json(
            {column: plain(row[column]) for column in COLUMNS}
            | {
                "rates": [_rate_json(rate) for rate in rates],
                "assignments": [{name: plain(each[name]) for name in ROUTERS} for each in routers],
            }
        )
        return
    routers = [{**each, "router": names.get(each["id"], each["router"])} for each in routers]
    emit_one({**row, "last_closed": _month(row["last_closed"])}, output_format, columns=COLUMNS)
    if output_format == "table":
        for rows, columns in (([_readable(rate, row["currency"]) for rate in rates], RATE_SHORT),
                              (routers, ROUTERS)):  # fmt: skip
            if rows:
                output.say()
                emit(rows, output_format, columns=columns)


@tenants.command("set", epilog="Example: radmeter tenants set 'tenant 7' --name acme --currency EUR")
@click.argument("tenant", type=TEXT)
@click.option("--name", type=TEXT, metavar="NEW", help="Its new name.")
@click.option(
    "--currency", type=TEXT, metavar="CODE", help="ISO 4217. It stays once there are documents in it."
)
@click.option("--timezone", type=TEXT, metavar="ZONE", help="IANA name.")
@tenant_options
@with_settings("state", "dsn")
def set_(settings: Settings, tenant: str, **given: str | None) -> None:
    """Change TENANT. What is not given stays; `none` takes a value away.

    Documents that were issued keep the name, address and tax that were copied into them.
    """
    from radmeter.billing import tenants as write
    from radmeter.database.operator import connect_as_operator

    changes = write.values(given)
    if not changes:
        raise click.UsageError("give at least one value to change, such as --currency EUR")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        changed = write.change(connection, tenant, changes)
    output.say(f"tenant {changes.get('name', tenant)!r} is {'changed' if changed else 'as before'}")


@tenants.command("retire", epilog="Example: radmeter tenants retire acme")
@click.argument("tenant", type=TEXT)
@click.option("--undo", is_flag=True, help="Take it into use again.")
@with_settings("state", "dsn")
def retire(settings: Settings, tenant: str, undo: bool) -> None:
    """Take TENANT out of use: it gets no routers and users any more. What it has had is still billed."""
    from radmeter.billing import tenants as write
    from radmeter.database.operator import connect_as_operator

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        changed = write.retire(connection, tenant, undo=undo)
    state = "in use" if undo else "retired"
    output.say(f"tenant {tenant!r} is {state}{'' if changed else ' already'}")


@tenants.command(
    "rate",
    epilog="""\b
Examples:
  radmeter tenants rate acme --from 2026-01-01 --per-gb 0.50
  radmeter tenants rate acme --from 2026-07-01 --per-gb 0.50 \\
      --tier 100:0.40 --tier 1000:0.30 --base-fee 5 --included 10
  radmeter tenants rate hotel --from 2026-01-01 --share 30 --minimum 20
  radmeter tenants rate acme --from 2026-07-01 --remove
""",
)
@click.argument("tenant", type=TEXT)
@click.option(
    "--from", "from_day", type=DAY, required=True, metavar="DAY", help="The first day, such as 2026-01-01."
)
@click.option(
    "--per-gb", type=TEXT, metavar="PRICE", help="Of 10^9 octets, both directions. As fine as you like."
)
@click.option("--per-gib", type=TEXT, metavar="PRICE", help="Of 2^30 octets instead.")
@click.option(
    "--tier",
    "tiers",
    type=TEXT,
    multiple=True,
    metavar="FROM:PRICE",
    help="From so many units of a month on, another price. Can be given several times.",
)
@click.option(
    "--tiers",
    "tier_mode",
    type=click.Choice(["graduated", "volume"]),
    help="graduated: each price holds for the units of its tier; volume: the last tier's price for all.  "
    "[default: graduated]",
)
@click.option("--included", type=TEXT, metavar="UNITS", help="Of a month that cost nothing.")
@click.option("--minimum", type=TEXT, metavar="AMOUNT", help="Of a month, before tax.")
@click.option("--maximum", type=TEXT, metavar="AMOUNT", help="Of a month, before tax.")
@click.option(
    "--share", type=TEXT, metavar="PERCENT", help="Of what the tenant's users are billed for the month."
)
@click.option(
    "--base-fee",
    type=TEXT,
    metavar="AMOUNT",
    help="Of each router and month, by the days it was the tenant's.",
)
@click.option("--tax-rate", type=TEXT, metavar="PERCENT", help="Tax.  [default: the tenant's]")
@click.option("--tax-rule", type=TEXT, help="Why it is this rate.  [default: the tenant's]")
@click.option("--remove", is_flag=True, help="Remove the rate that begins on this day.")
@with_settings("state", "dsn")
def rate(settings: Settings, tenant: str, from_day: datetime.datetime, remove: bool, **given: Any) -> None:
    """Say what the usage of TENANT costs from a day on, until the day of the next rate.

    The same day again replaces the rate. A rate that begins within a month holds for its days: tiers, included volume,
    minimum, maximum and base fee are divided by the days of that month.

    Documents that exist stay as they are. If octets of a closed month come late, their line is what the month costs at
    the rates that it has then, less what was billed for it. To bill a closed month anew, void its document.
    """
    from radmeter.billing import tenants as write
    from radmeter.billing.rate_summary import summary
    from radmeter.billing.rates import from_options
    from radmeter.database.operator import connect_as_operator

    day = from_day.date()
    given = {key: value or None for key, value in given.items()}
    if remove == any(given.values()):
        raise click.UsageError("give a price, such as --per-gb 0.50, or --remove")
    terms = None if remove else from_options(given)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        done = write.set_rate(connection, tenant, day, terms)
    until = "" if done.until_day is None else f", until the rate of {done.until_day}"
    if terms is None:
        output.say(f"tenant {tenant!r} has no rate of its own from {day} on any more")
    elif done.changed:
        output.say(f"usage of tenant {tenant!r} costs, from {day} on: {summary(terms)}{until}")
    else:
        output.say(f"tenant {tenant!r} has this rate from {day} on already")
    if done.changed and done.closed_months:
        output.say(
            f"{counted(done.closed_months, 'closed month')}, from {_month(done.first_closed)} on, had another rate: "
            "their documents stay as they are. What comes late for them is priced by this one, each month in full less "
            "what was billed",
            err=True,
        )


@tenants.command("rates", epilog="Example: radmeter tenants rates acme --format json")
@click.argument("tenant", type=TEXT)
@list_options
@with_settings("state", "dsn", "read_dsn")
def rates(settings: Settings, tenant: str, output_format: str) -> None:
    """List the rates of TENANT by their first days. until_day is the first day of the next rate."""
    from radmeter.billing import tenants as read
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        row = read.find(connection, tenant)
        found = read.rates(connection, row["id"])
    if output_format == "json":
        emit([_rate_json(each) for each in found], output_format, columns=RATE)
        return
    rows = [{**_flat(each), "terms": _readable(each, row["currency"])["terms"]} for each in found]
    emit(rows, output_format, columns=RATE, short=RATE_SHORT if is_short(output_format) else None)


for command in (login, list_logins):
    tenants.add_command(command)


def _readable(row: Row, currency: str | None) -> Row:
    """Return a rate with its terms as people read them."""
    from radmeter.billing.rate_summary import summary
    from radmeter.billing.rates import terms

    return {**row, "terms": f"{summary(terms(row['terms']))} ({currency or 'no currency'})"}


def _rate_json(row: Row) -> Row:
    return {name: plain(row.get(name, row["terms"].get(name))) if name != "tiers" else row["terms"].get(name, [])
            for name in RATE}  # fmt: skip


def _flat(row: Row) -> Row:
    """Return a rate with a column for each of its terms."""
    terms = row["terms"]
    tiers = " ".join(f"{tier['from']}:{tier['price']}" for tier in terms.get("tiers", ()))
    return {name: row.get(name, terms.get(name)) for name in RATE} | {"tiers": tiers or None}


def _month(day: datetime.date | None) -> str | None:
    return None if day is None else f"{day:%Y-%m}"
