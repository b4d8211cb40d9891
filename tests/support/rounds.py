"""How many examples tests with random input look at: a third in `scripts/test`, all of them with `--long`."""

import os


def rounds(full: int) -> int:
    """Return how many of so many examples this run has."""
    return full if os.environ.get("RADMETER_LONG") == "1" else full // 3
