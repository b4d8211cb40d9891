"""`radmeter routers set --coa-..|coa-key|test-coa`: how Disconnect- and CoA-Requests reach a router."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from radmeter import output
from radmeter.cli.common import TEXT, emit, existing_database, format_option, with_settings
from radmeter.config import Settings
from radmeter.units import counted

if TYPE_CHECKING:
    import psycopg

    from radmeter.quotas.secrets import Keyring

WHICH = "NAME|MAC|#ID|NAS-ID"
_DEFAULT = "default"

_OPTIONS = (
    click.option(
        "--coa-address",
        "address",
        metavar="ADDRESS",
        type=TEXT,
        help="Where Disconnect- and CoA-Requests go.  [default: where its packets come from]",
    ),
    click.option(
        "--coa-port",
        "port",
        metavar="PORT",
        type=click.IntRange(1, 65_535),
        help="The UDP port.  [default: the vendor's]",
    ),
    click.option(
        "--coa-secret-file",
        "secret_file",
        metavar="FILE",
        type=click.Path(),
        help="A file with the secret for requests, in one line. '' removes the secret.",
    ),
    click.option(
        "--coa-source",
        "source_address",
        metavar="ADDRESS",
        type=TEXT,
        help="The address to send from: many routers take requests from their RADIUS servers only.",
    ),
    click.option("--vendor", metavar="VENDOR", type=TEXT, help="mikrotik, chilli, cambium, .. or generic."),
    click.option(
        "--message-authenticator/--no-message-authenticator",
        "message_authenticator",
        default=None,
        help="Whether requests have a Message-Authenticator. Some routers refuse it.",
    ),
    click.option(
        "--coa-signed-answers/--no-coa-signed-answers",
        "signed_answers",
        default=None,
        help="Whether answers without a Message-Authenticator are ignored.  [default: they count]",
    ),
    click.option(
        "--swapped/--not-swapped",
        "swapped",
        default=None,
        help="Whether the router counts input and output the other way round.",
    ),
)
COA_OPTIONS = (
    "address",
    "port",
    "secret_file",
    "source_address",
    "vendor",
    "message_authenticator",
    "signed_answers",
    "swapped",
)


def coa_options(command: Any) -> Any:
    """Add the options that say how requests reach a router."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def set_coa(settings: Settings, dsn: str, router_id: int, given: dict[str, Any]) -> bool:
    """Change how requests reach a router; return whether anything changed. The secret is encrypted here.

    Raises
    ------
    ConfigurationError
        The secret or the key cannot be read.
    """
    import ipaddress

    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import operations
    from radmeter.secret_files import read_password

    changes = {name: value or None for name, value in given.items() if name in ("address", "source_address")}
    for name, value in changes.items():
        try:
            if value is not None:
                ipaddress.ip_address(value)
        except ValueError:
            option = "--coa-address" if name == "address" else "--coa-source"
            raise click.UsageError(f"{option} {value!r}: give an IP address") from None
    changes |= {
        name: value
        for name, value in given.items()
        if name not in ("secret_file", "address", "source_address")
    }
    if "vendor" in changes:
        changes["vendor"] = str(changes["vendor"]).lower()
    with connect_as_operator(dsn) as connection:
        if (path := given.get("secret_file")) is not None:
            changes["secret"] = None
            if path:
                secret = read_password(Path(path), f"--coa-secret-file: the secret in {path}").encode()
                changes["secret"] = made_keyring(settings, connection).encrypt(secret)
        changed = operations.set_router(connection, router_id, changes)
        if changes.get("vendor") in operations.vendors_without_speeds(connection):
            output.say(
                f"routers of {changes['vendor']} take no speeds: there a fair-use tier slows nobody down unless "
                "it has a role that the router knows (radmeter plans set --tier FROM:DOWN/UP:ROLE), or is off",
                err=True,
            )
        return changed


def made_keyring(settings: Settings, connection: "psycopg.Connection[Any]") -> "Keyring":
    """Return the keys of the installation. The first key is made here.

    Raises
    ------
    ConfigurationError
        The file cannot be read or made, or it is missing and secrets are encrypted with it.
    """
    from radmeter.errors import ConfigurationError
    from radmeter.quotas.secrets import Keyring, add_key

    key_file = settings.coa_key_file
    if not key_file.exists():
        if _has_secrets(connection):
            raise ConfigurationError(
                f"the key of router secrets is missing: {key_file}: secrets are encrypted with it already, "
                "so copy it from the machine that has it. If it is lost: radmeter routers coa-key --new --forget"
            )
        add_key(key_file)
        output.say(
            f"made the key {key_file}: keep a copy of it. The user of `radmeter jobs run` must be able to read it; "
            "`radmeter doctor` says whether it is",
            err=True,
        )
    return Keyring(key_file)


def _has_secrets(connection: "psycopg.Connection[Any]") -> bool:
    """Tell whether the database has secrets that were encrypted with the key."""
    from radmeter.quotas import operations
    from radmeter.webhooks import endpoints

    return operations.has_secrets(connection) or endpoints.has_secrets(connection)


@click.command("coa-key", epilog="Example: radmeter routers coa-key --new")
@click.option("--new", is_flag=True, help="Make a new key, and encrypt all secrets with it.")
@click.option("--forget", is_flag=True, help="Give up the secrets that no key of the file decrypts.")
@with_settings("state", "dsn", "coa_key_file")
def coa_key(settings: Settings, new: bool, forget: bool) -> None:
    """Make the key that encrypts the secrets of routers and webhooks, or replace it by a new one.

    The new key comes first into the file, then all secrets are encrypted with it in one transaction. The former key
    stays in the file until the next time, for a command that has just used it; older ones are removed. If the command
    is interrupted, nothing is lost: run it again. Every machine that runs `radmeter jobs run` or these commands needs a
    copy of the file.

    If the key is lost, --forget makes a new one all the same. Secrets of routers that cannot be decrypted are removed:
    set them again. Webhooks need a new secret: `radmeter webhooks rotate`. Both are named.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas.secrets import Keyring, add_key, keep_two_keys

    if not new:
        raise click.UsageError("give --new")
    path = settings.coa_key_file
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        routers: list[int] | None = [] if forget else None
        webhooks: list[int] | None = [] if forget else None
        if path.exists() and not forget:
            # Is each secret readable? Before the file is changed.
            with connection.transaction(force_rollback=True):
                _encrypt_again(connection, Keyring(path))
        elif not forget and _has_secrets(connection):
            output.say(
                f"the key {path} is missing, and secrets are encrypted with it: copy it from the machine that has it. "
                "If it is lost: radmeter routers coa-key --new --forget",
                err=True,
            )
            sys.exit(1)
        existed = add_key(path)
        with connection.transaction():
            encrypted = _encrypt_again(connection, Keyring(path), routers, webhooks)
        keep_two_keys(path)
    output.say(f"{'a new key is in' if existed else 'made the key'} {path}")
    if existed:
        output.say(
            f"{counted(encrypted, 'secret')} encrypted with it: copy the file to the other machines, until then they "
            "cannot read the secrets"
        )
    for each in routers or []:
        output.say(f"given up, set it again: radmeter routers set '#{each}' --coa-secret-file FILE")
    for each in webhooks or []:
        output.say(f"lost: radmeter webhooks rotate {each} --secret-file FILE --former-hours 0")


def _encrypt_again(
    connection: "psycopg.Connection[Any]",
    keyring: "Keyring",
    routers: list[int] | None = None,
    webhooks: list[int] | None = None,
) -> int:
    """Encrypt all secrets with the first key; return how many. With lists, those that are lost come into these."""
    from radmeter.quotas import operations
    from radmeter.webhooks import endpoints

    return operations.encrypt_again(connection, keyring, routers) + endpoints.encrypt_again(
        connection, keyring, webhooks
    )


@click.command("test-coa", epilog="Example: radmeter routers test-coa lobby")
@click.argument("router", metavar=WHICH, type=TEXT)
@format_option
@with_settings("state", "dsn", "coa_key_file")
def test_coa(settings: Settings, router: str, output_format: str) -> None:
    """Send a router requests for a session that does not exist, and explain the answers.

    A router that works answers that it has no such session (Error-Cause 503). Nobody is disconnected. Exit code 1 if
    it does not work.
    """
    from radmeter.database.connection import connect
    from radmeter.database.views import reading
    from radmeter.quotas import trying
    from radmeter.quotas.secrets import Keyring
    from radmeter.routers.lookup import find_router

    with existing_database(settings) as dsn:
        with reading(dsn) as connection:
            found = find_router(connection, router)
        with connect(dsn, any_pooler=True) as owner:
            target = trying.target(owner, found.id)
        results = trying.try_router(target, Keyring(settings.coa_key_file).decrypt(target.secret))
    rows = [each._asdict() for each in results]
    if output_format == "table":
        output.say(f"{target.vendor} at {target.address} port {target.port}:")
        for each in results:
            output.say(f"{each.request}: {each.meaning}")
    else:
        emit(rows, output_format, columns=trying.Tried._fields)
    if not all(each.works for each in results[:1]):
        sys.exit(1)
