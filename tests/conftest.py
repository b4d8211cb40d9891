"""For all tests: signals as a shell in the foreground has them, and no configuration file of the checkout."""

import gc
import os
import signal
import zlib
from collections import defaultdict
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from radmeter.plugin.config_file import default_file

# Under nohup, or in the background of a script, these are ignored, and so by every program that a test starts: those
# that are to end by them would not.
for ignored in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(ignored, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# The terminal of the person who runs the tests has a size; a command that a test starts has no terminal. Where Python
# has GNU readline, pytest's first process sets these variables, and the others inherit them.
for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)

# On a busy machine an example takes as long as it takes: the slow ones are no faults.
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


def pytest_configure() -> None:
    """Refuse a file that would configure the programs that the tests start."""
    if default_file().exists():
        raise pytest.UsageError(f"{default_file()} would configure the programs of the tests: move it away")


# These files take minutes, most of them with few tests. If one of them begins last, the other processes wait for it.
LONG_FILES = (
    "integration/counting/test_model.py",
    "integration/billing/test_properties.py",
    "integration/adoption/test_adopt_killed.py",
    "integration/adoption/test_backfill_command.py",
    "integration/schema/test_schema.py",
    "integration/counting/test_truth",
    "integration/schema/test_migrate",
    "integration/billing/test_year.py",
    "integration/database/test_another_version.py",
    "integration/adoption/",
    "integration/ingest/test_time_goes_back_random.py",
    "integration/billing/exports/test_large.py",
    "unit/test_package.py",
)

# These wait for most of their time: for a lease to end, a server to start, a patience to run out. If all processes
# began with them, the processors would have nothing to do.
WAITING_FILES = (
    "acceptance/ha/test_failover.py",
    "acceptance/ha/",
    "acceptance/",
    "integration/cli/test_cli_patience.py",
    "integration/database/test_deadline.py",
    "integration/database/test_haproxy.py",
    "integration/database/test_standby.py",
    "integration/embedded/",
    "integration/cli/test_cli_waits.py",
)

# Here each test runs on one version of PostgreSQL, and each version has half of the tests: what they are about depends
# little on it. All functions run on each version in integration/sql, and so does what counts, in counting and ingest,
# but for the long random histories. See `_other_pairs` for the examples of what counts.
ONE_VERSION = (
    *(
        f"integration/{room}/"
        for room in ("adoption", "alerts", "api", "billing", "cli", "database", "doctor", "documents", "jobs")
    ),
    *(f"integration/{room}/" for room in ("metrics", "noc", "partitions", "people", "quotas", "routers")),
    *(f"integration/{room}/" for room in ("schema", "usage", "webhooks")),
    "integration/counting/test_model.py",
    "integration/counting/test_truth",
    # What the shipper does, or a command, and what becomes of journals.
    *(
        f"integration/ingest/test_{subject}.py"
        for subject in (
            "accepted_losses", "bad_sectors", "folders_elsewhere", "forks", "gap_after_power_cut", "given_up_segments",
            "ingest_fuzz", "kept_by_the_release_before", "rejected", "replaced_files", "replay", "salvaged_copies",
            "shipped_by_root", "shipper", "store", "time_goes_back", "time_goes_back_random", "waiting_for_a_journal",
        )
    ),
)  # fmt: skip


LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_finish() -> None:
    """Tell the garbage collector to look no more at the tests and modules, which stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)  # pytest itself puts tests with the same parameter of a session together
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a run of all tests (scripts/test), begin with the long files, and leave out what `--long` adds."""
    if hasattr(config, "workerinput"):  # xdist keeps this order
        items[:] = _by_file(items)
        if not os.environ.get("RADMETER_LONG"):
            left_out = _of_another_version(items) | _other_pairs(items)
            items[:] = [item for item in items if item not in left_out]
            config.workeroutput["left_out"] = len(left_out)  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Remember how many tests were left out. Each worker left out the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why fewer tests have run than there are."""
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{left_out} tests left out: what they test has run on another version of PostgreSQL (--long: on each)"
        )


def _of_another_version(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return the tests of `ONE_VERSION` without one version of each, half of them on each version."""
    versions: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        parameters = getattr(item, "callspec", None)
        if (
            parameters is None
            or "server" not in parameters.params
            or not _place(item).startswith(ONE_VERSION)
        ):
            continue
        version, _ = parameters.params["server"]
        versions[item.nodeid.replace(version, "")].append(item)
    return {
        item
        for name, group in versions.items()
        for place, item in enumerate(group)
        if place != zlib.crc32(name.encode()) % len(group)
    }


def _other_pairs(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return half of the examples of what counts: each runs on each version and in each way, but not in each pair.

    Like the fields of a chessboard: which version has which way differs from example to example.
    """
    fields: dict[tuple[Path, str | None, int, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        spec = getattr(item, "callspec", None)
        if spec is not None and {"server", "counted"} <= spec.params.keys():
            version, way = spec.indices["server"], spec.indices["counted"]
            fields[item.path, getattr(item, "originalname", None), version, way].append(item)
    if len({version for _, _, version, _ in fields}) < 2:
        return set()
    return {
        item
        for (_, _, version, way), examples in fields.items()
        for number, item in enumerate(examples)
        if (version + way + number) % 2
    }


def _by_file(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with their files in the order in which they begin: one that waits, one that works, and so on."""
    files: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        files[_place(item)].append(item)
    waiting = sorted((name for name in files if name.startswith(WAITING_FILES)), key=_rank(WAITING_FILES))
    working = sorted((name for name in files if not name.startswith(WAITING_FILES)), key=_rank(LONG_FILES))
    order = [name for pair in zip_longest(waiting, working) for name in pair if name is not None]
    return [item for name in order for item in files[name]]


def _rank(names: tuple[str, ...]) -> Callable[[str], tuple[int, str]]:
    # The others by name: those of tests/unit, which are the shortest, come last.
    return lambda file: (
        next((rank for rank, name in enumerate(names) if file.startswith(name)), len(names)),
        file,
    )


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()
