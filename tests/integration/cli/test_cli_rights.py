"""Each command, run by a database role without its rights, names the role that has them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from support.commands import radmeter
from support.logins import as_role, login_role
from support.servers import Connection

from radmeter.cli.main import cli
from radmeter.plugin.journal.writer import JournalWriter

# Every command that asks the database, with arguments that reach it.
COMMANDS: dict[str, tuple[str, ...]] = {
    "jobs close-stale": (),
    "jobs close-stale --dry-run": (),
    "jobs expire": (),
    "jobs expire --dry-run": (),
    "jobs clear-personal": (),
    "migrate plan": (),
    "migrate up": ("--yes",),
    "migrate status": (),
    "migrate history": (),
    "migrate sql": (),
    "migrate roles": ("--login", "x=radmeter_reader"),
    "adopt --status": (),
    "adopt --undo": ("--yes",),
    "adopt --from radacct": ("--yes",),
    "partitions list": (),
    "partitions ensure": (),
    "partitions split": ("radacct_legacy", "--yes"),
    "partitions archive": ("--before", "2020-01", "--to", "{directory}"),
    "partitions restore": ("{directory}/x.parquet", "--yes"),
    "usage user": ("alice",),
    "usage users": (),
    "usage router": ("lobby",),
    "explain": ("alice",),
    "top": ("--count", "1"),
    "sessions": (),
    "routers list": (),
    "routers show": ("lobby",),
    "routers add": ("--name", "hall"),
    "routers claim": ("lobby",),
    "routers import": ("{directory}/routers.csv",),
    "routers rename": ("lobby", "hall"),
    "routers set": ("lobby", "--mac", "AA-BB-CC-DD-EE-FF"),
    "routers retire": ("lobby",),
    "routers merge": ("lobby", "hall", "--yes"),
    "status": ("--sample", "0"),
    "backfill": ("--yes",),
    "backfill --status": (),
    "backfill --redo": ("--yes",),
    "verify": (),
    "replay": ("{directory}/detail",),
    "rejected list": (),
    "rejected show": ("1",),
    "rejected retry": ("1",),
    "rejected drop": ("1", "--yes"),
    "rejected left-out": (),
    "rejected salvage": (),
    "people show": ("alice",),
    "people erase": ("alice", "--yes"),
    "journal status": (),
    "journal incidents": (),
    "journal acknowledge": ("1", "--reason", "known"),
    "journal salvage": ("{directory}/orphans",),
    "journal adopt": ("{directory}/orphans",),
    "limits list": (),
    "limits set": ("personal_keep_days", "90"),
}


# What accountants may do.
ENOUGH = {"radmeter_billing": {"usage user", "usage users"}, None: set[str]()}

# They ask no database, run for ever, or say in their findings what they may not see.
OTHERS = {
    "up",
    "simulate",
    "ship",
    "jobs run",
    "config",
    "doctor",
    "people pseudonymise",
    "freeradius install",
}


def leaves(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the name of every command that is not a group."""
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        each = command.get_command(context, name)
        assert each is not None
        yield from leaves(each, (*path, name))


def test_every_command_is_tried_without_rights() -> None:
    tried = {command.partition(" --")[0] for command in COMMANDS}
    assert tried | OTHERS == set(leaves())


@pytest.mark.parametrize("group", [None, "radmeter_billing"])
def test_a_role_without_the_rights_is_told_which_role_has_them(
    database: str, connection: Connection, tmp_path: Path, group: str | None
) -> None:
    (tmp_path / "routers.csv").write_text("name,mac\nhall,AA-BB-CC-DD-EE-FF\n")
    (tmp_path / "detail").write_text(
        'Mon Mar  2 10:00:00 2026\n\tAcct-Status-Type = Stop\n\tAcct-Session-Id = "1"\n\tTimestamp = 1772445600\n\n'
    )
    (tmp_path / "x.parquet").touch()
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "node").write_text("node-1\n")
    with closing(JournalWriter(tmp_path / "orphans")) as writer:
        writer.append(1, "[]")
    connection.execute("INSERT INTO user_quota_usage (username, period_start) VALUES ('alice', '2026-01-01')")
    silent = []
    with login_role(connection, *([group] if group else [])) as role:
        for command, arguments in COMMANDS.items():
            done = radmeter(
                as_role(database, role),
                *command.split(),
                *(each.format(directory=tmp_path) for each in arguments),
                RADMETER_JOURNAL=str(tmp_path / "journal"),
            )
            told = "run it as a superuser" if command == "migrate roles" else "grant radmeter_"
            if command in ENOUGH[group]:
                if done.exit_code != 0:
                    silent.append((command, done.exit_code, done.errors))
            elif done.exit_code == 0 or told not in done.errors.lower():
                silent.append((command, done.exit_code, done.errors))
    assert not silent, "\n".join(map(str, silent))
