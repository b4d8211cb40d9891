"""`radmeter webhooks`: endpoints that are told what happened, and what is to be delivered to them."""

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from radmeter import output, waits
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    confirm,
    emit,
    existing_database,
    list_options,
    reading_database,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.router_coa import made_keyring
from radmeter.config import Settings
from radmeter.errors import ConfigurationError, RadmeterError
from radmeter.secret_files import read_password
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.quotas.secrets import Keyring

# The types of messages there are. `--event over` is short for the one that ends so.
QUOTA_TYPES = ("quota.warned", "quota.over", "quota.restored")
TYPES = (*QUOTA_TYPES, "alert.firing", "alert.resolved")
TEST = "radmeter.test"
SHORT = ("id", "url", "state", "waiting", "dead", "delivered_at")
SHORT_DELIVERIES = (
    "id",
    "webhook_id",
    "type",
    "subject",
    "state",
    "attempts",
    "happened_at",
)
STATES = ("waiting", "done", "dead", "dropped")
FORMER_HOURS = 24

NUMBER = click.IntRange(1, 2**63 - 1)


class Failed(RadmeterError):
    """An endpoint did not take the test message."""


class Events(click.ParamType[tuple[str, ...]]):
    """Types of messages, separated by commas, in full or without their first part."""

    name = "events"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the full names, or end with a usage error."""
        if isinstance(value, tuple):
            return value
        full = {name: name for name in TYPES} | {name.rpartition(".")[2]: name for name in TYPES}
        chosen = [each.strip() for each in str(value).split(",")]
        for each in chosen:
            if each not in full:
                self.fail(f"{each!r} is none of {', '.join(full)}", param, ctx)
        return tuple(dict.fromkeys(full[each] for each in chosen))


@group(epilog="Example: radmeter webhooks queue list --only dead")
def webhooks() -> None:
    """Tell other programs by HTTP who was warned, is over the quota, or is served again, and of alerts."""


@webhooks.command(
    "add",
    epilog="""\b
Examples:
  radmeter webhooks add https://example.org/in --secret-file hook.secret
  radmeter webhooks add https://example.org/in --secret-file s --event over
  radmeter webhooks add https://example.org/noc --secret-file n \\
      --event firing,resolved
""",
)
@click.argument("url", type=TEXT)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The secret that signs the messages: whsec_ and base64. A file that does not exist is made, with a new one.",
)
@click.option(
    "--event",
    "events",
    type=Events(),
    default=",".join(QUOTA_TYPES),
    show_default=True,
    metavar="EVENT,..",
    help="Only these events. Also: alert.firing, alert.resolved.",
)
@with_settings("state", "dsn", "coa_key_file", "webhook_networks")
def add(settings: Settings, url: str, secret_file: Path, events: tuple[str, ...]) -> None:
    """Send what happens from now on to URL, signed (Standard Webhooks 1.0.0).

    `radmeter jobs run` sends it: at least once, in no certain order, and again over three days until the endpoint
    answers with 2xx. The URL has to be https://, at a public address; the setting webhook_networks allows others. Put
    no secret into the URL: it is shown to all who may read. The database role needs radmeter_noc.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.webhooks import addresses, endpoints

    try:
        to = addresses.target(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if reason := addresses.refusal(to, settings.webhook_networks):
        raise click.UsageError(reason)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        sealed, made = _sealed(made_keyring(settings, connection), secret_file)
        webhook_id = endpoints.add(connection, url, events, sealed)
    if made:
        output.say(f"a new secret is in {secret_file}: the receiver needs it", err=True)
    output.say(f"webhook {webhook_id} gets {', '.join(events)}. Test it: radmeter webhooks test {webhook_id}")


@webhooks.command("list", epilog="Example: radmeter webhooks list --format json")
@click.option("--all", "all_", is_flag=True, help="Also those that were retired.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_webhooks(settings: Settings, all_: bool, output_format: str) -> None:
    """List the endpoints, and how many deliveries wait or are dead. Secrets are not shown.

    \b
    on       it gets what happens
    paused   it failed a moment ago; it is tried again within 5 minutes
    off      it answered 410 Gone; `radmeter webhooks enable` switches it on again
    retired  it gets nothing any more
    """
    from radmeter.database.connection import connect
    from radmeter.webhooks import endpoints

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        times.use_zone(connection)
        rows = endpoints.endpoints(connection, retired=all_)
    for row in rows:
        row["events"] = ",".join(row["events"])
    emit(rows, output_format, columns=endpoints.COLUMNS, short=SHORT)


@webhooks.command("test", epilog="Example: radmeter webhooks test 1")
@click.argument("webhook", type=NUMBER)
@with_settings("state", "dsn", "coa_key_file", "webhook_networks")
def test(settings: Settings, webhook: int) -> None:
    """Send a message of the type radmeter.test to the endpoint WEBHOOK from here, and say what it answers.

    It is sent once and not stored. An endpoint that is switched off gets it as well.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas.secrets import Keyring
    from radmeter.webhooks import deliveries, endpoints, posting, sender

    box = Keyring(settings.coa_key_file)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        row = _endpoint(endpoints.endpoints(connection), webhook)
        keys = endpoints.keys(box, endpoints.sealed_secrets(connection, webhook))
    message = deliveries.Delivery(0, uuid.uuid4(), TEST, {"webhook": webhook}, datetime.now(UTC), 1)
    began = time.monotonic()
    poster = posting.Poster(row["url"], settings.webhook_networks)
    with waits.waiting_for("the answer of the endpoint"):
        answer = sender.send(poster, keys, message)
    poster.close()
    if answer.error is not None:
        raise Failed(answer.error)
    output.say(f"the endpoint answered {answer.status} after {(time.monotonic() - began) * 1000:.0f} ms")


@webhooks.command(
    "rotate",
    epilog="""\b
Examples:
  radmeter webhooks rotate 1 --secret-file new.secret
  radmeter webhooks rotate 1 --secret-file new.secret --former-hours 0
""",
)
@click.argument("webhook", type=NUMBER)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The new secret: whsec_ and base64. A file that does not exist is made, with a new one.",
)
@click.option(
    "--former-hours",
    type=click.IntRange(0, 10_000),
    default=FORMER_HOURS,
    show_default=True,
    metavar="HOURS",
    help="Messages are signed with the former secret too for so long.",
)
@with_settings("state", "dsn", "coa_key_file")
def rotate(settings: Settings, webhook: int, secret_file: Path, former_hours: int) -> None:
    """Sign messages to the endpoint WEBHOOK with a new secret. The former one signs them too for a while."""
    from radmeter.database.operator import connect_as_operator
    from radmeter.webhooks import endpoints

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        _endpoint(endpoints.endpoints(connection), webhook)
        sealed, made = _sealed(made_keyring(settings, connection), secret_file)
        endpoints.change(connection, webhook, "rotate", sealed, former_hours * 3600)
    if made:
        output.say(f"a new secret is in {secret_file}: the receiver needs it", err=True)
    output.say(f"webhook {webhook} has a new secret")


@webhooks.command("enable", epilog="Example: radmeter webhooks enable 1")
@click.argument("webhook", type=NUMBER)
@with_settings("state", "dsn")
def enable(settings: Settings, webhook: int) -> None:
    """Send to the endpoint WEBHOOK again, which was switched off or is paused.

    What was dead when it was switched off stays dead: `radmeter webhooks queue retry` sends it.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.webhooks import endpoints

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        endpoints.change(connection, webhook, "enable")
    output.say(f"webhook {webhook} is on")


@webhooks.command("retire", epilog="Example: radmeter webhooks retire 1 --yes")
@click.argument("webhook", type=NUMBER)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def retire(settings: Settings, webhook: int, yes: bool) -> None:
    """Send nothing to the endpoint WEBHOOK any more. Its secrets are removed, and what waits for it is dropped."""
    from radmeter.database.operator import connect_as_operator
    from radmeter.webhooks import endpoints

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        row = _endpoint(endpoints.endpoints(connection), webhook)
        waiting = counted(row["waiting"], "delivery", "deliveries")
        confirm(f"Retire {row['url']}? It cannot be undone, and drops {waiting} waiting.", yes)
        endpoints.change(connection, webhook, "retire")
    output.say(f"webhook {webhook} was retired")


@webhooks.group("queue", epilog="Example: radmeter webhooks queue list --only dead")
def deliveries_group() -> None:
    """List what was sent and what waits, send dead deliveries again, or give some up."""


@deliveries_group.command(
    "list",
    epilog="""\b
Examples:
  radmeter webhooks queue list --only dead
  radmeter webhooks queue list --webhook 1 --limit 1000 --format csv
""",
)
@click.option("--only", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--webhook", type=NUMBER, help="Only those to this endpoint.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="At most so many."
)
@list_options
@with_settings("dsn", "read_dsn", "state")
def list_deliveries(
    settings: Settings, only: str | None, webhook: int | None, limit: int, output_format: str
) -> None:
    """List deliveries, the latest first.

    \b
    waiting  not tried yet, or to be tried again at next_try_at
    done     the endpoint took it
    dead     given up after three days, or because the endpoint was switched off
    dropped  an operator gave it up, or the endpoint was retired

    Those that ended more than webhook_keep_days days ago are removed (`radmeter limits`).
    """
    from radmeter.database.connection import connect
    from radmeter.webhooks import deliveries, endpoints

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        times.use_zone(connection)
        if webhook is not None:
            _endpoint(endpoints.endpoints(connection, retired=True), webhook)
        rows = deliveries.deliveries(connection, state=only, webhook_id=webhook, most=limit)
    if output_format == "table":
        rows = [{**row, "type": row["type"].removeprefix("quota.")} for row in rows]
    emit(rows, output_format, columns=deliveries.COLUMNS, short=SHORT_DELIVERIES)


@deliveries_group.command("retry", epilog="Example: radmeter webhooks queue retry 12 13")
@click.argument("ids", nargs=-1, type=NUMBER, metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="All that are dead.")
@with_settings("state", "dsn")
def retry(settings: Settings, ids: tuple[int, ...], all_: bool) -> None:
    """Send dead deliveries again, with the same webhook-id. The database role needs radmeter_noc."""
    _change(
        settings,
        ids,
        all_,
        "retry",
        "will be sent again",
        "only a dead delivery to an endpoint in use is sent again",
    )


@deliveries_group.command("drop", epilog="Example: radmeter webhooks queue drop 12 13")
@click.argument("ids", nargs=-1, type=NUMBER, metavar="[ID]...")
@click.option("--all", "all_", is_flag=True, help="All that are dead.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def drop(settings: Settings, ids: tuple[int, ...], all_: bool, yes: bool) -> None:
    """Give deliveries up that are dead or wait. The database role needs radmeter_noc."""
    if bool(ids) != all_:
        which = "all dead deliveries" if all_ else counted(len(set(ids)), "delivery", "deliveries")
        confirm(f"Drop {which}? The endpoint never gets to know what they say.", yes)
    _change(settings, ids, all_, "drop", "dropped", "only a delivery that is dead or waits can be dropped")


def _change(settings: Settings, ids: Sequence[int], all_: bool, what: str, done: str, otherwise: str) -> None:
    from radmeter.database.operator import connect_as_operator
    from radmeter.webhooks import deliveries

    if bool(ids) == all_:
        raise click.UsageError("name deliveries by their ids, or give --all")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        if all_:
            rows = deliveries.deliveries(connection, state="dead", most=1_000_000)
            ids = [row["id"] for row in rows]
        changed = deliveries.change(connection, ids, what)
        left = [] if all_ else sorted({*ids} - {*changed})
        missing = deliveries.missing(connection, left)
    if changed or all_:
        output.say(f"{counted(len(changed), 'delivery', 'deliveries')} {done}")
    if missing:
        listed = ", ".join(map(str, missing))
        raise RadmeterError(f"there is no delivery {listed}: `radmeter webhooks queue list` shows them")
    if left:
        raise RadmeterError(f"not {', '.join(map(str, left))}: {otherwise}")


def _endpoint(rows: Sequence[dict[str, Any]], webhook: int) -> dict[str, Any]:
    from radmeter.database.views import NotKnown

    for row in rows:
        if row["id"] == webhook:
            return row
    raise NotKnown(f"there is no endpoint {webhook}: `radmeter webhooks list` shows them")


def _sealed(box: "Keyring", path: Path) -> tuple[str, bool]:
    """Return the secret in a file, encrypted, and whether the file was made."""
    import os

    from radmeter.webhooks import signing

    made = False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"--secret-file: {path} cannot be made: {error.strerror}") from None
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(signing.new_secret() + "\n")
        made = True
    text = read_password(path, f"--secret-file: the secret in {path}", "whsec_ and base64")
    try:
        signing.secret_bytes(text)
    except ValueError as error:
        raise ConfigurationError(f"--secret-file: the secret in {path} cannot be used: {error}") from None
    return box.encrypt(text.encode()), made
