"""Random usage, top-ups, suspensions, changes of plans and ends of periods: the database finds what a slow model finds.

The functions that look at users get another clock: a setting, so that months pass within a test.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.ledger import empty
from support.model import Plan
from support.quota_clock import clocked, set_clock
from support.quota_model import Limits, QuotaModel, TopUp
from support.servers import Connection

BEGIN = datetime(2025, 12, 27, 10, 30, tzinfo=UTC)
PLANS = (
    Plan("daily", timezone="America/Sao_Paulo"),
    Plan("daily", timezone="Australia/Lord_Howe"),
    Plan("weekly", anchor_day=3, timezone="America/New_York"),
    Plan("monthly", anchor_day=31, timezone="Pacific/Auckland"),
    Plan("monthly", anchor_day=1, timezone="UTC"),
    Plan("one-time", timezone="UTC", quota_start=date(2025, 12, 27)),
)
OCTETS = st.sampled_from((0, 1, 10, 100, 400, 790, 1000, 3000))
LIMITS = st.builds(
    Limits,
    plan=st.sampled_from(PLANS),
    quota=st.sampled_from((None, 0, 1000, 1000, 2500)),
    quota_in=st.sampled_from((None, None, 700)),
    quota_out=st.sampled_from((None, None, 900)),
    rollover=st.sampled_from((None, 0, 300, 5000)),
    tiers=st.sampled_from(((), (), ((500, 64_000),), ((500, 64_000), (2000, None)))),
).map(
    lambda limits: (
        replace(limits, rollover=None)
        if limits.quota is None or limits.plan.quota_type == "one-time"
        else limits
    )
)
MONTH = Limits(PLANS[4], quota=1000)
WEEK = Limits(PLANS[2], quota=1000)
OVER = [("top up", 1000, None, None), ("use", 0, 1000, 100)]
EVENT = st.one_of(
    st.tuples(st.just("use"), st.integers(0, 2), OCTETS, OCTETS),
    st.tuples(st.just("use"), st.integers(0, 2), OCTETS, OCTETS),
    st.tuples(st.just("batch"), st.just(0), OCTETS, OCTETS),
    st.tuples(st.just("late"), st.integers(0, 2), OCTETS, st.sampled_from((1, 9, 33))),
    st.tuples(st.just("top up"), st.sampled_from((50, 1000)), st.none() | st.integers(1, 900), st.none()),
    st.tuples(st.just("wait"), st.sampled_from((1, 7, 14, 25, 170, 760)), st.none(), st.none()),
    st.tuples(st.just("quota"), st.sampled_from((0, 700, 1500, 4000)), st.none(), st.none()),
    st.tuples(
        st.just("new tariff"),
        st.sampled_from((0, 700, 1500, 4000)),
        st.sampled_from((25, 170, 760)),
        st.none(),
    ),
    st.tuples(st.just("suspend"), st.booleans(), st.none(), st.none()),
    st.tuples(st.just("assign"), st.none(), st.booleans(), OCTETS),
    st.tuples(st.just("anchor"), st.integers(1, 31), st.booleans(), OCTETS),
    st.tuples(st.just("again"), st.none(), st.none(), st.none()),
)


class Story:
    """One user with three sessions, in the database and in the model, at an instant of the setting."""

    def __init__(self, connection: Connection, limits: Limits, other: Limits) -> None:
        self.connection = connection
        self.plans = {"p": limits, "other": other}
        self.plan = "p"
        self.model = QuotaModel(limits)
        self.now = BEGIN
        ids = [self._add(name, each) for name, each in self.plans.items()]
        connection.execute(
            "INSERT INTO subscribers VALUES ('bob', %s, %s)", (ids[0], limits.plan.quota_start)
        )
        for session in range(3):
            connection.execute(
                """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime,
                                        acctupdatetime, acctinputoctets, acctoutputoctets)
                   VALUES (%s, %s, 'bob', '10.0.0.1', %s, %s, 0, 0)""",
                (str(session), str(session), BEGIN, BEGIN),
            )
        self.look()
        self.model.settle(self.now)

    def _add(self, name: str, limits: Limits) -> int:
        plan = limits.plan
        row = self.connection.execute(
            """INSERT INTO plans (name, quota_type, anchor_day, timezone, quota_bytes, quota_bytes_in, quota_bytes_out,
                                  rollover_bytes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
            (name, plan.quota_type, plan.anchor_day, plan.timezone, limits.quota, limits.quota_in, limits.quota_out,
             limits.rollover),
        ).fetchone()  # fmt: skip
        assert row is not None
        for start, speed in limits.tiers:
            self.connection.execute(
                "INSERT INTO plan_tiers VALUES (%s, %s, %s, %s)", (row[0], start, speed, speed)
            )
        return int(row[0])

    def assign(self, name: str) -> None:
        """Give the user another plan, as the command does."""
        limits = self.plans[name]
        if name == self.plan:
            return
        if limits.plan.quota_type == "one-time":
            today = self.now.astimezone(ZoneInfo(limits.plan.timezone or "UTC")).date()
            limits = replace(limits, plan=replace(limits.plan, quota_start=today))
        self.plans[self.plan], self.plans[name], self.plan = self.model.limits, limits, name
        self.connection.execute("SELECT radmeter.assign_plan('bob', %s, '{}', '{}', false)", (name,))
        self.model.change_plan(self.now, limits)

    def begin_on(self, day: int) -> None:
        """Let the periods of the user's plan begin on another day, if they are weeks or months."""
        limits = self.model.limits
        if limits.plan.quota_type not in ("weekly", "monthly"):
            return
        day = (day - 1) % 7 + 1 if limits.plan.quota_type == "weekly" else day
        if day == limits.plan.anchor_day:
            return
        self.connection.execute(
            "SELECT radmeter.change_plan(%s, jsonb_build_object('anchor_day', %s::integer))", (self.plan, day)
        )
        self.model.change_plan(self.now, replace(limits, plan=replace(limits.plan, anchor_day=day)))

    def at(self, now: datetime) -> None:
        self.now = now
        set_clock(self.connection, now)

    def jobs(self) -> None:
        while self.connection.execute("SELECT radmeter.apply_due_quotas(10)").fetchone() != (0,):
            pass

    def look(self) -> None:
        """Let the jobs look at the user now, as after a command."""
        self.at(self.now)
        self.connection.execute("INSERT INTO radmeter.quota_change (username) VALUES ('bob')")
        self.jobs()

    def use(self, sessions: str, octets: tuple[int, int], at: datetime) -> None:
        self.at(self.now)
        self.connection.execute(
            """UPDATE radacct SET acctinputoctets = acctinputoctets + %s, acctupdatetime = %s,
                                  acctoutputoctets = acctoutputoctets + %s WHERE acctsessionid ~ %s""",
            (octets[0], at, octets[1], sessions),
        )

    def wait(self, hours: int) -> None:
        """Let time pass. The jobs look at the user when a top-up expires."""
        end = self.now + timedelta(hours=hours)
        for top_up in sorted(
            each.expires for each in self.model.top_ups if each.expires and self.now < each.expires <= end
        ):
            self.at(top_up)
            self.jobs()
            self.model.settle(top_up)
        self.at(end)

    def found(self) -> dict[str, Any]:
        with self.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            row = cursor.execute("SELECT * FROM radmeter.quota_state('{bob}', public.test_now())").fetchone()
        assert row is not None
        return row

    def requests(self) -> list[tuple[Any, ...]]:
        return self.connection.execute(
            "SELECT radacctid, act, state FROM radmeter.disconnect_queue WHERE ended_at IS NULL ORDER BY 1, 2"
        ).fetchall()


def happen(story: Story, event: tuple[Any, ...]) -> None:
    """Let an event happen in the database and in the model. Afterwards the jobs have looked at the user."""
    kind, first, second, third = event
    model, connection = story.model, story.connection
    if kind == "use":
        story.use(f"^{first}$", (second, third), story.now)
        model.use(story.now, (second, third))
    elif kind == "batch":  # packets of all sessions in one statement
        story.use("", (second, third), story.now)
        model.use(story.now, (3 * second, 3 * third))
    elif kind == "late":
        then = story.now - timedelta(days=third)
        story.use(f"^{first}$", (second, 0), then)
        model.use(then, (second, 0))
    elif kind == "top up":
        expires = None if second is None else story.now + timedelta(hours=second)
        connection.execute(
            "INSERT INTO top_ups (username, bytes, expires_at) VALUES ('bob', %s, %s)", (first, expires)
        )
        model.top_ups.append(TopUp(first, expires))
    elif kind == "wait":
        story.wait(first)
    elif kind in ("quota", "new tariff"):  # another quota, unless the plan has none
        if kind == "new tariff":  # after a time in which nobody has looked
            story.wait(second)
        connection.execute(
            "UPDATE plans SET quota_bytes = %s WHERE quota_bytes IS NOT NULL AND name = %s",
            (first, story.plan),
        )
        if model.limits.quota is not None:
            model.limits = replace(model.limits, quota=first)
    elif kind == "suspend":
        connection.execute(
            "UPDATE subscribers SET suspended_at = CASE WHEN %s THEN public.test_now() END", (first,)
        )
        model.suspended = first
    elif kind in ("assign", "anchor"):  # and back again after some usage
        former, anchor = story.plan, model.limits.plan.anchor_day
        if kind == "assign":
            story.assign("other" if former == "p" else "p")
        else:
            story.begin_on(first)
        if second:
            story.use("^0$", (third, 0), story.now)
            model.use(story.now, (third, 0))
            model.settle(story.now)
            if kind == "assign":
                story.assign(former)
            else:
                story.begin_on(anchor)
    else:  # what is counted already comes again
        story.use("", (0, 0), story.now)


@pytest.mark.parametrize("jobs", ["jobs run", "jobs do not run"])
def test_the_database_finds_what_the_model_finds(connection: Connection, jobs: str) -> None:
    with clocked(connection, BEGIN):

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @example(MONTH, WEEK, [*OVER, ("assign", None, True, 100), ("use", 0, 100, 0)])
        @example(MONTH, WEEK, [*OVER, ("anchor", 15, True, 100), ("use", 0, 100, 0)])
        @given(limits=LIMITS, other=LIMITS, events=st.lists(EVENT, min_size=4, max_size=20))
        def check(limits: Limits, other: Limits, events: list[tuple[Any, ...]]) -> None:
            empty(connection)
            story = Story(connection, limits, other)
            for event in events:
                if jobs == "jobs run":
                    happen(story, event)
                    story.look()
                    with_jobs(story)
                else:
                    happen(story, event)
                    without_jobs(story, event)

        check()


def with_jobs(story: Story) -> None:
    expected, found = story.model.settle(story.now), story.found()
    assert (
        found["status"], found["used_bytes"], found["remaining_bytes"], found["remaining_in"], found["remaining_out"],
        found["percent"],
    ) == (
        expected.status, expected.used, expected.remaining, expected.remaining_in, expected.remaining_out,
        expected.percent,
    )  # fmt: skip
    kinds = [
        row[0]
        for row in story.connection.execute("SELECT kind FROM radmeter.quota_notice ORDER BY id").fetchall()
    ]
    assert kinds == story.model.notices
    booked = story.connection.execute("SELECT used_bytes FROM top_ups ORDER BY id").fetchall()
    assert [row[0] for row in booked] == [top_up.used for top_up in story.model.top_ups]
    acts = [act for _, act, _ in story.requests()]
    assert acts.count("disconnect") == (3 if expected.status in ("over", "suspended") else 0)
    assert len(set(story.requests())) == len(acts)


def without_jobs(story: Story, event: tuple[Any, ...]) -> None:
    """Only what packets show: no limit is crossed unseen, nobody is cut for another period, no octet gets lost."""
    found = story.found()
    used = story.model.used[story.model.period_of(story.now)]
    assert (found["used_in"], found["used_out"]) == tuple(used)
    disconnects = [row for row in story.requests() if row[1] == "disconnect"]
    changed = story.connection.execute("SELECT count(*) FROM radmeter.quota_change").fetchone() != (0,)
    if event[0] in ("use", "batch") and sum(event[2:]) > 0 and not changed:
        assert bool(disconnects) == (found["status"] in ("over", "suspended"))
    elif event[0] == "late" and not changed and found["status"] not in ("over", "suspended"):
        assert [row for row in disconnects if row[2] != "waiting"] == []
    spare = story.connection.execute("SELECT coalesce(sum(bytes - used_bytes), 0) FROM top_ups").fetchone()
    assert spare is not None
    assert spare[0] >= 0
