"""A reference model of quotas: the rules of docs/architecture.md, "Quotas", in plain Python, one event after the other.

It shares no code with `sql/`. It is settled at every event, as if the jobs had looked at the user in that instant.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from support.model import Plan


@dataclass(frozen=True)
class Limits:
    """The limits of a plan, in octets."""

    plan: Plan
    quota: int | None
    quota_in: int | None = None
    quota_out: int | None = None
    rollover: int | None = None
    tiers: tuple[tuple[int, int | None], ...] = ()
    """From so many octets on, such a speed; None: off."""


@dataclass
class TopUp:
    bytes: int
    expires: datetime | None
    used: int = 0

    def lives(self, at: datetime) -> bool:
        return self.expires is None or self.expires > at


@dataclass(frozen=True)
class Found:
    """What a user may use, has used and has left."""

    status: str
    used: int
    remaining: int | None
    remaining_in: int | None
    remaining_out: int | None
    percent: int
    carried: int


@dataclass
class QuotaModel:
    limits: Limits
    used: dict[date, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    top_ups: list[TopUp] = field(default_factory=list)
    period: date | None = None
    settled_by: Limits | None = None
    """The limits at the latest look. A period that has ended is settled by them: a change counts from now on."""
    carried: int = 0
    paid: dict[date, int] = field(default_factory=lambda: defaultdict(int))
    """Octets of each period that top-ups have paid. They stay paid if the user comes back to the period."""
    announced: int = 0
    suspended: bool = False
    was_blocked: bool = False
    notices: list[str] = field(default_factory=list)

    def period_of(self, at: datetime) -> date:
        plan = self.limits.plan
        return plan.period_start(at.astimezone(ZoneInfo(plan.timezone or "UTC")).date())

    def use(self, at: datetime, octets: tuple[int, int]) -> None:
        counter = self.used[self.period_of(at)]
        counter[0] += octets[0]
        counter[1] += octets[1]

    def settle(self, at: datetime) -> Found:
        """Look at the user: begin a new period, let top-ups pay, announce what is new."""
        period = self.period_of(at)
        if self.period is not None and self.period != period:
            self._roll_over(period)
            self.announced = 0
        self.period, self.settled_by = period, self.limits
        used = self.used[period]
        due = self._beyond(used) - self.paid[period]
        alive = [top_up for top_up in self.top_ups if top_up.lives(at)]
        for top_up in sorted(alive, key=lambda each: (each.expires is None, each.expires)):
            taken = max(0, min(due, top_up.bytes - top_up.used))
            top_up.used += taken
            self.paid[period] += taken
            due -= taken
        spare = sum(top_up.bytes - top_up.used for top_up in alive)
        return self._judge(used, spare)

    def change_plan(self, at: datetime, limits: Limits) -> None:
        """Give another plan, or the same one with another period. Nothing rolls over into it."""
        self.settle(at)
        self.limits, self.carried = limits, 0
        period = self.period_of(at)
        if self.period != period:
            self.announced = 0
        self.period = period
        self.settle(at)

    def _roll_over(self, period: date) -> None:
        assert self.period is not None
        assert self.settled_by is not None
        cap, quota = self.limits.rollover, self.settled_by.quota
        if (
            cap is None
            or quota is None
            or self.limits.quota is None
            or self.limits.plan.quota_type == "one-time"
        ):
            self.carried = 0
        elif self.period_before(period) == self.period:
            left = max(0, quota + self.carried - sum(self.used[self.period]))
            self.carried = min(cap, quota, left)
        else:  # a period without usage is between
            self.carried = min(cap, quota)

    def period_before(self, period: date) -> date:
        return self.limits.plan.period_start(period - timedelta(days=1))

    def _base(self) -> int | None:
        return None if self.limits.quota is None else self.limits.quota + self.carried

    def _beyond(self, used: list[int]) -> int:
        base = self._base()
        each = zip(used, (self.limits.quota_in, self.limits.quota_out), strict=True)
        directions = sum(max(0, octets - limit) for octets, limit in each if limit is not None)
        return max(0, 0 if base is None else sum(used) - base, directions)

    def _judge(self, used: list[int], spare: int) -> Found:
        left = [
            None if limit is None else max(0, limit - octets) + spare
            for octets, limit in (
                (sum(used), self._base()),
                (used[0], self.limits.quota_in),
                (used[1], self.limits.quota_out),
            )
        ]
        percents = [
            100 if rest == 0 else octets * 100 // (octets + rest)
            for octets, rest in zip((sum(used), *used), left, strict=True)
            if rest is not None
        ]
        percent = max(percents, default=0)
        tier = max((each for each in self.limits.tiers if each[0] <= sum(used)), default=None)
        if self.suspended:
            status = "suspended"
        elif percent == 100 or (tier is not None and tier[1] is None):
            status = "over"
        elif tier is not None:
            status = "throttled"
        else:
            status = "warned" if percent >= 80 else "active"
        self._announce(status, percent)
        return Found(status, sum(used), left[0], left[1], left[2], percent, self.carried)

    def _announce(self, status: str, percent: int) -> None:
        blocked = status in ("over", "suspended")
        if status == "over":
            level = 100
        elif status == "suspended":
            level = self.announced
        else:
            level = 95 if percent >= 95 else 80 if percent >= 80 else 0
        if status == "over" and self.announced < 100:
            self.notices.append("over")
        elif not blocked and self.was_blocked:
            self.notices.append("restored")
        elif not blocked and level > self.announced:
            self.notices.append("warned")
        self.announced, self.was_blocked = level, blocked
