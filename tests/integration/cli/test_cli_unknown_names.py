"""Every argument and option that names something: a name of nothing is an error that says so, never an empty list."""

from datetime import UTC, datetime
from pathlib import Path

import click
from support.command_tree import leaves
from support.commands import NODE as NODE_OF_PACKETS
from support.commands import Packets, Result, radmeter
from support.every_command import prepared
from support.servers import Connection

from radmeter.config import ALL

USER = (
    "there is no user 'nosuch': no subscriber, counter or session has exactly this name. "
    "`radmeter usage users` lists users"
)
PERSON = "nothing here has the user name 'nosuch', written exactly so. `radmeter usage users` lists users"
ROUTER = "there is no router 'nosuch': `radmeter routers list` lists them"
ENDPOINT = "there is no endpoint 4711: `radmeter webhooks list` shows them"
NODE = "there is no node 'nosuch': `radmeter status` lists them"
ISSUER = 'there is no issuer "nosuch": "radmeter billing issuers list" lists them'
PLAN = 'there is no plan "nosuch": "radmeter plans list" lists them'
SUBSCRIBER = 'there is no user "nosuch" with a plan: "radmeter users list" lists them'
PACKET = "there is no rejected packet 4711: `radmeter rejected list` shows the rejected packets"
OF_ISSUER = "there is no invoice '1' of the issuer 'nosuch'"
INVOICE = "there is no invoice 'nosuch': `radmeter billing list` lists them"
TENANT = "there is no tenant 'nosuch': `radmeter tenants list` lists them"
# What each argument and option is told if nothing has the name: the command, its exit code and a part of the message.
UNKNOWN: dict[str, tuple[str, int, str]] = {
    "usage user NAME": ("usage user nosuch", 1, USER),
    "usage users --period": (
        "usage users --period 2001-02",
        1,
        "no quota period with usage began in 2001-02: the first began in ",
    ),
    "usage router ROUTER": ("usage router nosuch", 1, ROUTER),
    "report usage --router": ("report usage --router nosuch", 1, ROUTER),
    "report usage --user": ("report usage --user nosuch", 1, USER),
    "report usage --tenant": ("report usage --tenant nosuch", 1, TENANT),
    "report forecast --router": ("report forecast --router nosuch", 1, ROUTER),
    "report forecast --user": ("report forecast --user nosuch", 1, USER),
    "report forecast --tenant": ("report forecast --tenant nosuch", 1, TENANT),
    "billing export --tenant": (
        "billing export --period 2026-10 --what lines --tenant nosuch -o x.csv",
        1,
        TENANT,
    ),
    "billing close --tenant": ("billing close 2020-01 --tenant nosuch --yes", 1, TENANT),
    "billing discard --tenant": ("billing discard 2020-01 --tenant nosuch --yes", 1, TENANT),
    "billing issue --tenant": ("billing issue 2020-01 --tenant nosuch --yes", 1, TENANT),
    "billing list --tenant": ("billing list --tenant nosuch", 1, TENANT),
    "billing list --user": ("billing list --user nosuch", 1, "there is no invoice for the user 'nosuch'"),
    "billing show --issuer": ("billing show 1 --issuer nosuch", 1, OF_ISSUER),
    "billing credit --issuer": ("billing credit 1 --issuer nosuch --all --reason x --yes", 1, OF_ISSUER),
    "billing void --issuer": ("billing void 1 --issuer nosuch --reason x --yes", 1, OF_ISSUER),
    "billing show NUMBER": ("billing show nosuch", 1, INVOICE),
    "billing credit NUMBER": ("billing credit nosuch --all --reason x --yes", 1, INVOICE),
    "billing void NUMBER": ("billing void nosuch --reason x --yes", 1, INVOICE),
    "billing statement --tenant": ("billing statement --period 2026-10 --tenant nosuch -o x.pdf", 1, TENANT),
    "billing statement --number": ("billing statement --number nosuch -o x.pdf", 1, INVOICE),
    "billing statement --issuer": (
        "billing statement --number 1 --issuer nosuch -o x.pdf",
        1,
        OF_ISSUER,
    ),
    "billing statement --period": (
        "billing statement --period 2001-02 --all -o x",
        1,
        "there are no documents of 2001-02: `radmeter billing close 2001-02` makes them",
    ),
    "audit list --action": (
        "audit list --action nosuch",
        1,
        "no line of audit_log has the action 'nosuch': `radmeter audit list` lists them",
    ),
    "tenants login ROLE": ("tenants login nosuch --tenant printed", 1, "nosuch"),
    "tenants login --tenant": ("tenants login postgres --tenant nosuch", 1, TENANT),
    "explain USER": ("explain nosuch", 1, USER),
    "explain --period": (
        "explain alice --period 2001-02-03",
        1,
        "'alice' has no usage in the quota period that began on 2001-02-01",
    ),
    "sessions --user": ("sessions --user nosuch", 1, USER),
    "sessions --router": ("sessions --router nosuch", 1, ROUTER),
    "verify --user": ("verify --user nosuch", 1, USER),
    "verify --router": ("verify --router nosuch", 1, ROUTER),
    "routers assign ROUTER": ("routers assign nosuch --none", 1, ROUTER),
    "routers assign --tenant": ("routers assign #1 --tenant nosuch", 1, TENANT),
    "routers set --tenant": ("routers set #1 --tenant nosuch", 1, TENANT),
    "routers qualify --tenant": ("routers qualify --tenant nosuch --off", 1, TENANT),
    "tenants show TENANT": ("tenants show nosuch", 1, TENANT),
    "tenants rates TENANT": ("tenants rates nosuch", 1, TENANT),
    "tenants set TENANT": ("tenants set nosuch --note x", 1, TENANT),
    "tenants rate TENANT": ("tenants rate nosuch --from 2026-01-01 --per-gb 1", 1, TENANT),
    "tenants retire TENANT": ("tenants retire nosuch", 1, TENANT),
    "tenants add --issuer": ("tenants add x --currency EUR --issuer nosuch", 1, ISSUER),
    "tenants add --currency": ("tenants add x --currency NOS", 2, "'NOS' is not a currency of ISO 4217"),
    "tenants set --issuer": ("tenants set inn --issuer nosuch", 1, ISSUER),
    "tenants set --currency": ("tenants set inn --currency NOS", 2, "'NOS' is not a currency of ISO 4217"),
    "billing issuers set ISSUER": ("billing issuers set nosuch --legal-name x", 1, ISSUER),
    "users add --tenant": ("users add emil --plan basic --no-password --tenant nosuch", 1, TENANT),
    "users set USER": ("users set nosuch --tenant inn", 1, SUBSCRIBER),
    "users set --tenant": ("users set dora --tenant nosuch", 1, TENANT),
    "plans show NAME": (
        "plans show nosuch",
        1,
        "there is no plan 'nosuch': `radmeter plans list --retired` lists all",
    ),
    "plans set PLAN": ("plans set nosuch --quota 1GB", 1, PLAN),
    "plans retire NAME": ("plans retire nosuch", 1, PLAN),
    "users show USER": (
        "users show nosuch",
        1,
        "there is no user 'nosuch', written exactly so: `radmeter users list` lists them",
    ),
    "users list --plan": ("users list --plan nosuch", 1, "there is no plan 'nosuch'"),
    "users add --plan": ("users add emil --plan nosuch", 1, PLAN),
    "users add --also": ("users add emil --plan basic --also nosuch", 1, PLAN),
    "users password USER": ("users password nosuch --password x", 1, SUBSCRIBER),
    "users assign USER": ("users assign nosuch --plan basic", 1, SUBSCRIBER),
    "users assign --plan": ("users assign dora --plan nosuch", 1, PLAN),
    "users assign --also": ("users assign dora --also nosuch", 1, PLAN),
    "users assign --without": ("users assign dora --without nosuch", 1, 'has no further plan "nosuch"'),
    "users top-up USER": ("users top-up nosuch 1GB", 1, SUBSCRIBER),
    "users suspend USER": ("users suspend nosuch", 1, SUBSCRIBER),
    "users top-up --undo": ("users top-up --undo 99", 1, "there is no top-up #99"),
    "users remove USER": ("users remove nosuch --yes", 1, SUBSCRIBER),
    "users resume USER": ("users resume nosuch", 1, SUBSCRIBER),
    "people show USER": ("people show nosuch", 1, PERSON),
    "people erase USER": ("people erase nosuch --yes", 1, PERSON),
    "routers show ROUTER": ("routers show nosuch", 1, ROUTER),
    "routers claim ROUTER": (
        "routers claim nosuch",
        1,
        "there is no discovered router 'nosuch': `radmeter routers list --status discovered` lists them. "
        "Its packets may count for a registered router of its address",
    ),
    "routers rename ROUTER": ("routers rename nosuch x", 1, ROUTER),
    "routers set ROUTER": ("routers set nosuch --timezone UTC", 1, ROUTER),
    "routers test-coa ROUTER": ("routers test-coa nosuch", 1, ROUTER),
    "disconnect USER": ("disconnect nosuch --reason x", 1, 'user "nosuch" has no open session'),
    "disconnect --session": (
        "disconnect --session nosuch --reason x",
        1,
        "there is no open session 'nosuch'",
    ),
    "queue list --user": (
        "queue list --user nosuch",
        1,
        "there is no user 'nosuch': no subscriber, counter or request",
    ),
    "queue retry IDS": ("queue retry 99", 1, "there is no request 99"),
    "queue drop IDS": ("queue drop 99 --yes", 1, "there is no request 99"),
    "routers retire ROUTER": ("routers retire nosuch --yes", 1, ROUTER),
    "routers merge SOURCE": ("routers merge nosuch #1 --yes", 1, ROUTER),
    "routers merge TARGET": ("routers merge #1 nosuch --yes", 1, ROUTER),
    "rejected list --node": ("rejected list --node nosuch", 1, NODE),
    "rejected retry --node": ("rejected retry --all --node nosuch", 1, NODE),
    "rejected drop --node": ("rejected drop --node nosuch --yes", 1, NODE),
    "rejected show IDS": ("rejected show 4711", 1, PACKET),
    "rejected retry IDS": ("rejected retry 4711", 1, PACKET),
    "rejected drop IDS": ("rejected drop 4711 --yes", 1, PACKET),
    "journal acknowledge IDS": ("journal acknowledge 4711 --reason x", 1, "4711"),
    "keys rotate NAME": ("keys rotate nosuch", 1, "there is no key 'nosuch'"),
    "keys revoke NAME": ("keys revoke nosuch --yes", 1, "there is no key 'nosuch'"),
    "keys add --role": ("keys add x --role tenant:nosuch", 1, "there is no tenant 'nosuch'"),
    "limits set NAME": ("limits set nosuch 5", 1, "nosuch"),
    "login set NAME": ("login set nosuch 5", 1, "nosuch"),
    "alerts show ALERT": (
        "alerts show 4711",
        1,
        "there is no alert 4711: `radmeter alerts list --all` shows them",
    ),
    "alerts retry IDS": ("alerts retry 4711", 1, "there is no mail 4711"),
    "alerts ack IDS": ("alerts ack 4711", 1, "there is no alert #4711"),
    "alerts unmute MUTE": ("alerts unmute 4711", 1, "there is no mute #4711 in force"),
    "alerts list --site": ("alerts list --site nosuch", 1, "no router has the site 'nosuch'"),
    "alerts mute --rule": ("alerts mute --until 4h --rule nosuch", 1, "there is no rule 'nosuch'"),
    "alerts mute --site": ("alerts mute --until 4h --site nosuch", 1, "no router has the site 'nosuch'"),
    "alerts mute --user": (
        "alerts mute --until 4h --user nosuch",
        1,
        "there is no user 'nosuch' with a quota",
    ),
    "alerts mute --router": ("alerts mute --until 4h --router nosuch", 1, "there is no router 'nosuch'"),
    "webhooks test WEBHOOK": ("webhooks test 4711", 1, ENDPOINT),
    "webhooks rotate WEBHOOK": (
        "webhooks rotate 4711 --secret-file {directory}/hook.secret",
        1,
        ENDPOINT,
    ),
    "webhooks enable WEBHOOK": ("webhooks enable 4711", 1, "there is no endpoint #4711"),
    "webhooks retire WEBHOOK": ("webhooks retire 4711 --yes", 1, ENDPOINT),
    "webhooks add --event": (
        "webhooks add https://x.test --secret-file x --event nosuch",
        2,
        "'nosuch' is none of quota.warned",
    ),
    "webhooks queue retry IDS": ("webhooks queue retry 4711", 1, "there is no delivery 4711"),
    "webhooks queue drop IDS": (
        "webhooks queue drop 4711 --yes",
        1,
        "there is no delivery 4711",
    ),
    "partitions split NAME": ("partitions split nosuch --yes", 1, "nosuch is no partition of radacct"),
    "backfill --correct": ("backfill --correct 4711 --octets 1 2", 1, "4711"),
    "backfill --leave": ("backfill --leave 4711 --yes", 1, "not set aside: 4711"),
    "adopt --from": ("adopt --from nosuch", 2, "--from nosuch: only public.radacct can be adopted"),
    "migrate sql --from": ("migrate sql --from nosuch", 2, "there is no revision nosuch: base, 0001"),
    "migrate roles --login": ("migrate roles --login x=nosuch", 1, "nosuch"),
    "doctor --only": ("doctor --only nosuch", 2, "--only nosuch: the checks are "),
    "replay --zone": ("replay --zone nosuch x --yes", 2, "'nosuch' is not the name of an IANA time zone"),
}


# What names nothing that is in the database, by the argument or option, of every command or of one.
FREE = {
    "billing close MONTH": "a month without usage is as good as any",
    "billing discard MONTH": "the same",
    "billing issue MONTH": "the same",
    "billing list --period": "the same",
    "billing export --period": "the same",
    "billing export --manifest": "a file that it writes",
    "billing credit --amount": "an amount",
    "billing credit --line": "a part of an invoice: tests/integration/billing/test_credit.py",
    "billing settings --currency": "a new value: an unknown currency is refused",
    "--settling-hours": "a number",
    "--users-tax-rate": "a number",
    "--users-tax-rule": "a new text",
    "--columns": "it names columns: tests/integration/cli/test_cli_reading.py",
    "--pseudonym-key": "a file",
    "--secret-file": "a file",
    "webhooks add URL": "a new value",
    "alerts mute --until": "a time",
    "alerts check FILE": "a file",
    "routers set --site": "a new value",
    "keys add NAME": "a new value",
    "keys add --rate": "a number and a unit",
    "keys rotate --overlap": "a length of time",
    "plans add --role": "a name that the routers know",
    "plans set --role": "a name that the routers know",
    "freeradius install --cache": "a server: tests/acceptance/test_freeradius_install.py",
    "--raddb": "a directory",
    "--plot": "a file",
    "--textfile": "a file",
    "-o": "a file",
    "--month": "a month without usage is as good as any",
    "--with": "the same",
    "--passwords": "a directory",
    "--to": "a directory, a file or a time",
    "--from": "a time, where it is none of the above",
    "--at": "a time",
    "--since": "a time",
    "--head": "a position and a digest: what the chain does not have is a fault",
    "--before": "a time, or an id to go on from",
    "--host": "a machine",
    "--secret": "a secret",
    "--reason": "a part of a text, or a new one",
    "--mac": "a new value",
    "--nas-identifier": "a new value",
    "--ip": "a new value",
    "--timezone": "a new value: an unknown zone is refused",
    "--realm": "a new value",
    "--clients": "a new value",
    "--plausible-rate": "a new value",
    "--accept-database": "it has to be the identity of the database: tests/integration/ingest/test_store.py",
    "FILE": "a file",
    "FILES": "files",
    "ARCHIVE": "a file",
    "DIRECTORY": "a directory",
    "PLACES": "files",
    "SPANS": "months to make",
    "--quota": "an amount",
    "--quota-up": "an amount",
    "--quota-down": "an amount",
    "--time": "an amount",
    "--anchor": "a day",
    "--down": "an amount",
    "--up": "an amount",
    "--tier": "an amount",
    "--max-sessions": "a number",
    "--session-timeout": "an amount",
    "--idle-timeout": "an amount",
    "--valid": "an amount",
    "--rollover": "an amount",
    "--price": "an amount",
    "--expires": "a day",
    "--note": "a new text",
    "--password": "a new value",
    "--password-file": "a file",
    "tenants add NAME": "a new name",
    "tenants set --name": "a new name",
    "billing issuers add NAME": "a new name",
    "billing issuers set --name": "a new name",
    "--legal-name": "a new text",
    "--address": "a new text",
    "--email": "a new text",
    "--tax-id": "a new text",
    "--tax-rule": "a new text",
    "--language": "a code",
    "--number-format": "a format",
    "--credit-format": "a format",
    "--tax-rate": "an amount",
    "--per-gb": "an amount",
    "--per-gib": "an amount",
    "--included": "an amount",
    "--minimum": "an amount",
    "--maximum": "an amount",
    "--share": "an amount",
    "--base-fee": "an amount",
    "plans add NAME": "a new name",
    "plans set --name": "a new name",
    "users add USER": "a new name",
    "users list --after": "a name to go on from",
    "users top-up VOLUME": "an amount",
    "routers add --name": "a new name",
    "routers add GIVEN_NAME": "a new name",
    "--coa-address": "a new value",
    "--coa-source": "a new value",
    "--coa-secret-file": "a file",
    "--vendor": "a new value: an unknown vendor is refused",
    "routers claim --name": "a new name",
    "routers rename NAME": "a new name",
    "limits set VALUE": "a new value",
    "login set VALUE": "a new value",
    "--login-dsn": "a connection string",
    "cache status USERNAME": "the cache is FreeRADIUS's: tests/acceptance/test_logins.py",
    "cache drop USERNAME": "the cache is FreeRADIUS's: tests/acceptance/test_logins.py",
    "journal salvage --node": "a name for what has none",
    "journal adopt --node": "a name for what has none",
}
SETTINGS = {setting.option for setting in ALL} | {"--config"}


def names() -> set[str]:
    """Return the arguments and options that take a text, with their commands; and the arguments that take ids."""
    found = set()
    for name, command in leaves().items():
        for each in command.params:
            numbers = isinstance(
                each.type, click.IntRange | click.types.IntParamType | click.types.FloatParamType
            )
            if isinstance(each.type, click.types.BoolParamType | click.Choice):
                continue
            if isinstance(each, click.Argument):
                assert each.name
                found.add(f"{name} {each.name.upper()}")
            elif not numbers and not set(each.opts) & SETTINGS:
                found.add(f"{name} {each.opts[0]}")
    return found


def test_every_name_is_tried_or_it_is_said_why_not() -> None:
    left = {each for each in names() - UNKNOWN.keys() if not {each, each.rpartition(" ")[2]} & FREE.keys()}
    assert left == set()
    assert UNKNOWN.keys() - names() <= {"backfill --correct", "users top-up --undo"}  # numbers


def test_a_name_of_nothing_is_an_error(database: str, connection: Connection, tmp_path: Path) -> None:
    settings = prepared(database, connection, tmp_path)
    wrong = []
    for name, (command, exit_code, told) in UNKNOWN.items():
        for options in ((), ("--format", "json")):
            formats = [each.type for each in leaves()[of(command)].params if "--format" in each.opts]
            if options and not any("json" in getattr(each, "choices", ()) for each in formats):
                continue
            given = command.format(directory=tmp_path).split()
            done = radmeter(database, *given, *options, **settings)
            if (
                (done.exit_code, done.output) != (exit_code, "")
                or told not in done.errors
                or not done.errors.splitlines()[-1].startswith("error: ")
            ):
                wrong.append((name, done))
    assert not wrong, "\n".join(map(str, wrong))


def of(line: str) -> str:
    """Return the name of the command in a line."""
    words = line.split()
    return next(" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in leaves())


def test_this_month_may_be_empty_and_a_month_between_others_too(
    database: str, connection: Connection
) -> None:
    def asked(month: str) -> Result:
        return radmeter(database, "usage", "users", "--period", month, "--format", "json")

    this = f"{datetime.now(UTC):%Y-%m}"
    assert asked(this).json() == []
    assert radmeter(database, "usage", "users", "--format", "json").json() == []
    assert asked("2026-03").errors == (
        "error: no quota period with usage began in 2026-03: none is counted yet\n"
    )
    connection.execute(
        "INSERT INTO user_quota_usage (username, period_start) VALUES ('alice', '2026-01-05'), ('alice', '2026-04-05')"
    )
    assert asked("2026-03").json() == []
    assert asked(this).json() == []
    for month in ("2025-12", "2026-05"):
        done = asked(month)
        assert (done.exit_code, done.output) == (1, "")
        assert done.errors.endswith(": the first began in 2026-01, the last in 2026-04\n")


def test_a_known_node_without_rejected_packets_is_an_empty_list(database: str) -> None:
    with Packets(database) as packets:
        packets.add("Stop", "s1", User_Name="alice")
    done = radmeter(database, "rejected", "list", "--node", NODE_OF_PACKETS, "--format", "json")
    assert done.json() == []
    assert radmeter(database, "rejected", "drop", "--node", NODE_OF_PACKETS).output == "0 packets dropped\n"
