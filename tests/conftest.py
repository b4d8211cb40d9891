"""For all tests: signals as a shell in the foreground has them, and no configuration file of the checkout."""

import os
import signal
from pathlib import Path

import pytest

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


def pytest_configure() -> None:
    """Refuse a file that would configure the programs that the tests start."""
    if default_file().exists():
        raise pytest.UsageError(f"{default_file()} would configure the programs of the tests: move it away")


# These files take minutes, most of them with few tests. If one of them begins last, the other processes wait for it.
LONG_FILES = (
    "integration/counting/test_model.py",
    "acceptance/ha/",
    "acceptance/",
    "integration/adoption/",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long files if several files run at a time (scripts/test; xdist keeps this order)."""
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    place = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((rank for rank, name in enumerate(LONG_FILES) if place.startswith(name)), len(LONG_FILES))
