"""Checks that requests reach routers, that users' quotas are looked at, and that secrets can be read."""

import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from radmeter.doctor.commands import main_process, user_of
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller, first_of
from radmeter.doctor.radiusd_rights import READ, User
from radmeter.errors import ConfigurationError
from radmeter.printable import printable
from radmeter.quotas.secrets import Keyring
from radmeter.units import counted, duration, verb

tell = Teller("requests")

# The jobs send within seconds. A router that does not answer is told apart.
LATE_SECONDS = 300.0
LISTED = 100
JOBS = "radmeter-jobs"
CRYPTOGRAPHY = "cryptography"
LOOK_AGAIN = (
    "WITH mended AS (UPDATE radmeter.quota_account SET settled_at = now() "
    "WHERE settled_at > now() + interval '1 minute' RETURNING username) "
    "INSERT INTO radmeter.quota_change (username) SELECT username FROM mended"
)


def check(context: Context) -> Findings:
    """Find requests that failed or wait, silent routers, missing secrets and keys, and users nobody looks at."""
    faults = [
        *_failed(context),
        *_late(context),
        *_silent(context),
        *_without_secret(context),
        *_keys(context),
        *_due(context),
        *_settled_ahead(context),
        *_not_computed(context),
    ]
    (waiting,) = context.row("SELECT count(*) FROM radmeter.disconnect_queue WHERE ended_at IS NULL")
    yield from faults or [tell.green(f"{counted(waiting, 'request')} to routers open, none failed or late")]


def _failed(context: Context) -> Findings:
    failed, error, reason = context.row(
        """SELECT count(*), max(error), max(reason) FROM (
               SELECT error, reason FROM radmeter.disconnect_queue
               WHERE ended_at > now() - interval '1 day' AND state = 'failed' ORDER BY id DESC LIMIT 10000) AS lately"""
    )
    if failed:
        yield tell.yellow(
            f"{counted(failed, 'request')} to routers failed within a day, such as one for {reason}: {error}",
            context.remedy.radmeter("queue list --status failed"),
            note="Send them again with `radmeter queue retry` when the cause is mended.",
        )


def _late(context: Context) -> Findings:
    """Find requests that are due for long at routers that answer: nobody sends them."""
    late, seconds = context.row(
        """SELECT count(*), extract(epoch FROM now() - min(request.next_try_at))::float8
           FROM radmeter.disconnect_queue AS request
           LEFT JOIN public.radacct AS session ON session.radacctid = request.radacctid
                                              AND session.acctstoptime IS NULL
           LEFT JOIN radmeter.router_coa_state AS state ON state.router_id = session.router_id
           WHERE request.ended_at IS NULL AND request.next_try_at < now() - %s * interval '1 second'
             AND state.silent_since IS NULL""",
        LATE_SECONDS,
    )
    if late:
        yield tell.red(
            f"{counted(late, 'request')} to routers {verb(late, 'waits', 'wait')}, for up to {duration(seconds)}: "
            "nobody sends them",
            context.remedy.service("jobs run", owner=True),
        )


def _silent(context: Context) -> Findings:
    rows = context.rows(
        """SELECT router.id, router.name, extract(epoch FROM now() - state.silent_since)::float8
           FROM radmeter.router_coa_state AS state JOIN public.routers AS router ON router.id = state.router_id
           WHERE state.silent_since IS NOT NULL AND router.merged_into IS NULL
           ORDER BY state.silent_since, router.id LIMIT %s""",
        LISTED,
    )
    if rows:
        named = [f"#{router} {name} for {duration(seconds)}" for router, name, seconds in rows]
        yield tell.yellow(
            f"{counted(len(rows), 'router')} {verb(len(rows), 'does', 'do')} not answer requests: {first_of(named)}",
            context.remedy.radmeter(f"routers test-coa '#{rows[0][0]}'"),
            *named,
            note="Nobody is cut or slowed down there in mid-session.",
        )


def _without_secret(context: Context) -> Findings:
    """Find routers that cannot be asked, with open sessions of users who have quotas."""
    rows = context.rows(
        """SELECT router.id, router.name, used.users, count(*) OVER ()
           FROM (SELECT session.router_id, count(DISTINCT session.username) AS users
                 FROM public.radacct AS session JOIN radmeter.quota_account AS account USING (username)
                 WHERE session.acctstoptime IS NULL GROUP BY session.router_id) AS used
           JOIN public.routers AS router ON router.id = used.router_id
           JOIN radmeter.router_requests AS reached ON reached.router_id = router.id
           WHERE NOT reached.has_secret
           ORDER BY used.users DESC, router.id LIMIT %s""",
        LISTED,
    )
    if rows:
        named = [f"#{router} {name} ({counted(users, 'user')} now)" for router, name, users, _ in rows]
        total = rows[0][3]
        yield tell.yellow(
            f"{counted(total, 'router')} {verb(total, 'serves', 'serve')} users with quotas, and "
            f"{verb(total, 'has', 'have')} no secret for requests: {first_of(named, total)}",
            context.remedy.radmeter(f"routers show '#{rows[0][0]}'"),
            *named,
            note="Nobody is cut or slowed down there in mid-session. Give each its secret with `radmeter routers set` "
            "and its option --coa-secret-file.",
        )


def _keys(context: Context) -> Findings:
    """Find what keeps the jobs from reading the secrets of routers and webhooks."""
    has_secrets = """SELECT EXISTS (SELECT FROM radmeter.router_requests WHERE has_secret)
                         OR EXISTS (SELECT FROM radmeter.webhooks WHERE state <> 'retired')"""
    if context.row(has_secrets) != (True,):
        return
    if find_spec(CRYPTOGRAPHY) is None:
        yield tell.red(
            "cryptography is not installed: the secrets of routers and webhooks cannot be read here",
            "sudo apt install radmeter-archive",
            note="Without the package: pip install 'radmeter[coa]'. A machine that runs no jobs needs neither.",
        )
        return
    path = context.settings.coa_key_file
    place = shlex.quote(str(path))
    name = user_of(JOBS)
    if name is not None:
        try:
            user = User(name)
        except KeyError:
            user = None
        if user is not None and (refused := user.refused(path, READ)):
            at = shlex.quote(str(refused))
            yield tell.red(
                f"the user of the jobs, {name}, may not read {refused}: no request is sent",
                f"sudo chmod a+x {at}"
                if refused.is_dir()
                else f"sudo chgrp {shlex.quote(user.group)} {at} && sudo chmod 640 {at}",
            )
            return
    try:
        exists = path.exists()
    except PermissionError:
        exists = True
    if not exists:
        say = tell.yellow if main_process(JOBS) is None else tell.red
        yield say(
            f"the key of the secrets of routers and webhooks is missing on this machine: {path}",
            f"ls -l {place}",
            note="If the jobs run here, copy the file from the machine that has it.",
        )
        return
    try:
        keyring = Keyring(path)
    except ConfigurationError as error:
        said = str(error)
        if _may_read(path):
            yield tell.red(said, f"ls -l {place}", note="Copy the file from a machine that has a good one.")
        else:
            yield tell.unknown(said, f"sudo {context.remedy.radmeter('doctor --only requests')}")
        return
    yield from _undecipherable(context, keyring)


def _may_read(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True


def _undecipherable(context: Context, keyring: Keyring) -> Iterator[Finding]:
    """Find secrets that were encrypted with another key."""
    if context.row("SELECT has_table_privilege('radmeter.router_coa', 'SELECT')") != (True,):
        return
    named = []
    for router, token in context.rows(
        "SELECT router_id, secret FROM radmeter.router_coa WHERE secret IS NOT NULL ORDER BY router_id"
    ):
        try:
            keyring.decrypt(token)
        except ConfigurationError:
            named.append(f"#{router}")
    if named:
        yield tell.red(
            f"{counted(len(named), 'secret')} of routers {verb(len(named), 'was', 'were')} encrypted with another key "
            f"than those in {context.settings.coa_key_file}: {first_of(named)}",
            context.remedy.radmeter(f"routers show '{named[0]}'"),
            *named,
            note="Copy the key file from the machine that has the right one, or give the secrets again.",
        )


def _due(context: Context) -> Findings:
    """Find users whose plan or period changed, and whom nobody has looked at since."""
    (seconds,) = context.row(
        """SELECT extract(epoch FROM now() - least(
               (SELECT at FROM radmeter.quota_change ORDER BY id LIMIT 1),
               (SELECT min(due_at) FROM radmeter.quota_account WHERE due_at IS NOT NULL)))::float8"""
    )
    if seconds is not None and seconds > LATE_SECONDS:
        yield tell.red(
            f"changes of plans and ends of periods wait for {duration(seconds)}: open sessions are cut or restored "
            "late. Logins are right",
            context.remedy.service("jobs run", owner=True),
        )


def _not_computed(context: Context) -> Findings:
    """Find users whose quota cannot be computed: nobody cuts them, and logins decide without it."""
    rows = context.rows(
        """SELECT username, error, count(*) OVER () FROM radmeter.quota_change
           WHERE error IS NOT NULL ORDER BY username LIMIT %s""",
        LISTED,
    )
    if rows:
        named = [f"{printable(username)}: {printable(error)}" for username, error, _ in rows]
        total = rows[0][2]
        yield tell.red(
            f"the {'quota' if total == 1 else 'quotas'} of {counted(total, 'user')} cannot be computed: "
            f"{first_of(named, total)}",
            context.remedy.radmeter(f"users show {shlex.quote(rows[0][0])}"),
            *named,
            note="They are not cut, warned or slowed down until the cause is mended. Each 5 minutes is a new try.",
        )


def _settled_ahead(context: Context) -> Findings:
    """Find users who were looked at by a clock that was ahead: nobody cuts them until then."""
    ahead, username = context.row(
        """SELECT count(*), min(username) FROM radmeter.quota_account
           WHERE settled_at > now() + interval '1 minute'"""
    )
    if ahead:
        yield tell.red(
            f"{counted(ahead, 'user')} {verb(ahead, 'was', 'were')} last looked at in the future, such as {username!r}"
            ": the clock of the database was ahead",
            context.remedy.psql(LOOK_AGAIN),
            note="Set the clock of the database's machine first.",
        )
