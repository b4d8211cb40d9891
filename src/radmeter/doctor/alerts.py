"""Checks that alerts are looked at and can be told: the rules can be read, and mails are sent."""

from radmeter.alerts import store
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.printable import printable
from radmeter.units import counted, duration, verb

tell = Teller("alerts")

# A mail server may be away for a while.
MAIL_SECONDS = 900.0


def check(context: Context) -> Findings:
    """Find rules that cannot be read, a watch that stands still, and mails that are not sent."""
    if not context.there("radmeter.alert_state"):
        return
    state = store.state(context.database)
    waiting, dead = state["mails_waiting"], state["mails_dead"]
    mail_error, late = state["mail_error"], state["late_seconds"]
    faults = []
    if state["rules_error"]:
        faults.append(
            tell.yellow(
                f"the rules before stay in force: {printable(state['rules_error'])}",
                context.remedy.radmeter("alerts check"),
            )
        )
    jobs_run = context.rows(
        "SELECT EXISTS (SELECT FROM radmeter.lease WHERE name = 'jobs' AND expires_at > now())"
    )
    if jobs_run == [(True,)] and (late is None or late > store.MOST_LATE_SECONDS):
        since = "never" if late is None else f"for {duration(late)} not"
        faults.append(
            tell.yellow(
                f"the jobs run, but have {since} looked for what is wrong",
                context.remedy.radmeter("alerts list"),
                note="The log of the jobs says why.",
            )
        )
    if waiting and not state["mails"]:
        faults.append(
            tell.yellow(
                f"{counted(waiting, 'mail')} {verb(waiting, 'waits', 'wait')}, but the rules name no mail server",
                context.remedy.radmeter("alerts mails"),
            )
        )
    elif (waiting and state["mails_wait_seconds"] > MAIL_SECONDS) or dead:
        why = f": {printable(mail_error)}" if mail_error else ""
        many = f"{counted(waiting, 'mail')} {verb(waiting, 'waits', 'wait')}" if waiting else ""
        lost = f"{counted(dead, 'mail')} {verb(dead, 'was', 'were')} given up today" if dead else ""
        faults.append(
            tell.yellow(
                f"mails about alerts are not sent; {', '.join(filter(None, (many, lost)))}{why}",
                context.remedy.radmeter("alerts test"),
                note="`radmeter alerts retry --all` sends again what was given up." if dead else "",
            )
        )
    # One that was refused a minute ago may come through yet: green, and said.
    order = "mails and rules are in order"
    if waiting and mail_error:
        trying = f"{counted(waiting, 'mail')} {verb(waiting, 'is', 'are')} tried again"
        order = f"{trying}, the last try failed: {printable(mail_error)}"
    yield from faults or [tell.green(f"{counted(state['open'], 'alert')} open; {order}")]
