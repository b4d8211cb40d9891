"""How much is measured: in full in under an hour, quickly in three minutes, or only what `--check` needs."""

from dataclasses import dataclass

from bench.systems import ALL, INTERVAL, System
from bench.traffic import Population

IN_FLIGHT = (1, 8, 32, 128)
OFFERED = (500, 2000)  # packets a second
PARTS = (
    "systems",
    "several",
    "large",
    "lookups",
    "commands",
    "quotas",
    "closing",
    "exports",
    "logins",
    "http",
    "flood",
    "floods",
    "recovery",
    "away",
)


@dataclass(frozen=True, kw_only=True)
class LookupSize:
    """The size of a database for lookups."""

    closed_sessions: int
    routers: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes and times, in seconds."""

    repeats: int
    """Rounds over all systems. Lasting rates are measured in each round, the rest in the first `answers` rounds."""
    answers: int
    acknowledge_seconds: float
    latency_seconds: float
    warm_up_seconds: float
    sustain_seconds: float
    several_rounds: int
    """Rounds over one radiusd and several, of `several_seconds` each."""
    several_seconds: float
    small: Population
    large: Population
    large_systems: tuple[System, ...]
    large_repeats: int
    large_warm_up_seconds: float
    """A run begins with a checkpoint, after which each page is logged whole once. The warm-up lasts until then.

    The next checkpoint is minutes away.
    """
    lookups: tuple[LookupSize, LookupSize]
    export_sessions: int
    login_seconds: float
    http_turns: int
    """Turns over the addresses of the HTTP API, of `http_seconds` each."""
    http_seconds: float
    closing_tenants: int
    """Tenants whose month is closed, with 10 routers each. A tenth of them is closed with two years behind it."""
    closing_users: int
    """Users whose month is closed, each with a plan, a tenth of them with a top-up."""
    flood_turns: int
    """Rounds without and with each kind of flood, of `flood_seconds` each."""
    flood_seconds: float
    resident_packets: int
    """Packets for measuring radiusd's memory. They are then the records that wait in the journal."""
    away_seconds: float
    away_rate: int


FULL = Plan(
    repeats=2,
    answers=2,
    acknowledge_seconds=4,
    latency_seconds=10,
    warm_up_seconds=3,
    sustain_seconds=60,
    several_rounds=3,
    several_seconds=10,
    small=Population(open_sessions=10_000, routers=50),
    large=Population(open_sessions=1_000_000, routers=5_000),
    large_systems=tuple(system for system in ALL if system.kind != "empty"),
    large_repeats=2,
    large_warm_up_seconds=10,
    lookups=(
        LookupSize(closed_sessions=10_000, routers=100),
        LookupSize(closed_sessions=10_000_000, routers=100_000),
    ),
    export_sessions=10_000_000,
    login_seconds=60,
    http_turns=2,
    http_seconds=20,
    closing_tenants=5_000,
    closing_users=50_000,
    flood_turns=3,
    flood_seconds=10,
    resident_packets=1_000_000,
    away_seconds=600,
    away_rate=2000,
)

QUICK = Plan(
    repeats=2,
    answers=1,
    acknowledge_seconds=0.8,
    latency_seconds=1.3,
    warm_up_seconds=1,
    sustain_seconds=4,
    several_rounds=1,
    several_seconds=3,
    small=FULL.small,
    large=Population(open_sessions=100_000, routers=5_000),
    large_systems=(INTERVAL,),
    large_repeats=1,
    large_warm_up_seconds=1,
    lookups=(
        LookupSize(closed_sessions=10_000, routers=100),
        LookupSize(closed_sessions=200_000, routers=100_000),
    ),
    export_sessions=100_000,
    login_seconds=6,
    http_turns=1,
    http_seconds=4,
    closing_tenants=200,
    closing_users=2_000,
    flood_turns=1,
    flood_seconds=4,
    resident_packets=60_000,
    away_seconds=5,
    away_rate=2000,
)

# Only what the targets need. Each rate is measured often enough for a useful median.
CHECK = Plan(
    repeats=3,
    answers=3,
    acknowledge_seconds=1,
    latency_seconds=3,
    warm_up_seconds=1,
    sustain_seconds=8,
    several_rounds=3,
    several_seconds=5,
    small=FULL.small,
    large=Population(open_sessions=1_000_000, routers=5_000),
    large_systems=(INTERVAL,),
    large_repeats=3,
    large_warm_up_seconds=10,
    lookups=(
        LookupSize(closed_sessions=10_000, routers=100),
        LookupSize(closed_sessions=1_000_000, routers=100_000),
    ),
    export_sessions=1_000_000,
    login_seconds=20,
    http_turns=1,
    http_seconds=10,
    closing_tenants=5_000,
    closing_users=50_000,
    flood_turns=2,
    flood_seconds=5,
    resident_packets=0,
    away_seconds=0,
    away_rate=0,
)
