"""Checks that FreeRADIUS asks the database about quotas at each login."""

import os
import pwd
import shlex
from typing import TYPE_CHECKING

from radmeter.database.dsn import redacted
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.freeradius import installed, login_trial
from radmeter.freeradius.install import LOGIN_CALL, PASSWORDS_CALL
from radmeter.freeradius.install_logins import MARKS, SQL
from radmeter.freeradius.server_user import server_user

if TYPE_CHECKING:
    from radmeter.doctor.freeradius import Server

tell = Teller("freeradius")


def find(context: Context, server: "Server") -> Findings:
    """Find a server that lets users in without a question although they have quotas, or that cannot ask."""
    asks = [
        place
        for place in server.root.all(LOGIN_CALL.section)
        if LOGIN_CALL.policy in [call.name for call in place.calls()]
    ]
    if not asks:
        if _has_quotas(context):
            yield tell.yellow(
                f"no virtual server calls {LOGIN_CALL.policy} in {LOGIN_CALL.section}: users who are over their quota "
                "can log in",
                "",
                note="Run `radmeter freeradius install` with --quota and --login-dsn (docs/operators/logins.md), "
                "unless other servers take the logins.",
            )
        return
    if MARKS[SQL] not in server.modules:
        link = shlex.quote(str(server.raddb / "mods-enabled" / "radmeter_sql"))
        yield tell.red(
            f"{LOGIN_CALL.section} of {asks[0].path} calls {LOGIN_CALL.policy}, and its module {MARKS[SQL]} is not "
            "enabled: the server does not start",
            f"sudo ln -s ../{SQL} {link} && {server.restart}",
        )
    if installed.program() is not None and installed.module(installed.SQL_MODULE) is None:
        yield tell.red(
            "rlm_sql_postgresql is not installed: the server does not start, since logins need it",
            f"sudo apt install freeradius-postgresql && {server.restart}",
        )
    yield from _trial(context, server)
    yield from _passwords(context, server)


def _trial(context: Context, server: "Server") -> Findings:
    """Ask the database about a login as the server does."""
    if (module := server.modules.get(MARKS[SQL])) is None or not (dsn := server.value(module, "radius_db")):
        return
    name = server_user(server.root, server.raddb)
    if os.geteuid() != 0 and name != pwd.getpwuid(os.geteuid()).pw_name:
        yield tell.unknown(
            f"whether {name or 'the server'} can ask the database about logins, this user cannot try",
            f"sudo {context.remedy.radmeter('doctor')}",
        )
        return
    fault = login_trial.fault(dsn, server.owner, server.environment)
    if fault:
        yield tell.red(
            f"the database does not answer logins ({module.path}: {redacted(dsn)}), so users who are not in the cache "
            f"are refused: {fault}",
            "",
            note="How to make the role and its passfile: docs/operators/logins.md.",
        )


def _passwords(context: Context, server: "Server") -> Findings:
    """Find passwords that `radmeter users` has stored and no server reads."""
    read = {PASSWORDS_CALL.policy, *(name for name, each in server.modules.items() if each.name == "sql")}
    called = {call.name.lstrip("-") for place in server.root.all("authorize") for call in place.calls()}
    if called & read - {MARKS[SQL]} or not _has_passwords(context):
        return
    yield tell.yellow(
        "radcheck has passwords of radmeter's users, and no virtual server reads that table: who has no other password "
        "is refused",
        f"sudo {context.remedy.radmeter('freeradius')} install --quota --radcheck",
    )


def _has_passwords(context: Context) -> bool:
    """Tell whether a user of radmeter has a password in radcheck. One who may not read it is told nothing."""
    if context.connection is None or not context.facts.has_schema or not context.there("public.radcheck"):
        return False
    allowed = "SELECT has_table_privilege('public.radcheck', 'SELECT')"
    return context.row(allowed) == (True,) and context.row(
        "SELECT EXISTS (SELECT FROM public.radcheck JOIN public.subscribers USING (username))"
    ) == (True,)


def _has_quotas(context: Context) -> bool:
    """Tell whether a user has limits."""
    if (
        context.connection is None
        or not context.facts.has_schema
        or not context.there("radmeter.quota_account")
    ):
        return False
    allowed = "SELECT has_table_privilege('radmeter.quota_account', 'SELECT')"
    return context.row(allowed) == (True,) and context.row(
        "SELECT EXISTS (SELECT FROM radmeter.quota_account)"
    ) == (True,)
