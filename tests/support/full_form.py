"""The mark of tests that only `scripts/test --ha` runs, because they take minutes."""

import os

import pytest

only_in_the_full_form = pytest.mark.skipif(
    os.environ.get("RADMETER_HA") != "1", reason="the full form of the tests: scripts/test --ha"
)
