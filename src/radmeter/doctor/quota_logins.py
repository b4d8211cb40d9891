"""Checks that FreeRADIUS asks the database about quotas at each login."""

import shlex
from typing import TYPE_CHECKING

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.freeradius import installed
from radmeter.freeradius.install import LOGIN_CALL
from radmeter.freeradius.install_logins import MARKS, SQL

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
                note="Run `radmeter freeradius install` with --quota and --login-dsn (docs/operations.md, Quotas at "
                "login), unless other servers take the logins.",
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
