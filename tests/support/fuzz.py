"""How long the fuzz tests run: a few seconds each in the suite, as long as one likes with scripts/fuzz."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Set by scripts/fuzz: how many times as many examples, and other ones each time.
LONGER = int(os.environ.get("RADMETER_FUZZ", "0"))


def fuzzing(examples: int) -> settings:
    """Return settings for a test with so many examples in the suite. There they are the same each time."""
    return settings(
        max_examples=examples * max(1, LONGER),
        derandomize=not LONGER,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def mutated(draw: st.DrawFn, data: bytes, most: int = 4) -> bytes:
    """Damage some bytes: cut off, flip a bit, overwrite, leave out, put in, repeat a part, zero a part."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 200)))
        how = draw(st.sampled_from(["cut", "flip", "overwrite", "leave out", "put in", "repeat", "zero"]))
        if how == "cut":
            data = data[:at]
        elif how == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        elif how == "overwrite":
            data = data[:at] + draw(st.binary(max_size=60)) + data[end:]
        elif how == "leave out":
            data = data[:at] + data[end:]
        elif how == "put in":
            data = data[:at] + draw(st.binary(max_size=60)) + data[at:]
        elif how == "repeat":
            start = draw(st.integers(0, at))
            data = data[:at] + data[start : start + 200] + data[at:]
        elif how == "zero":
            data = data[:at] + bytes(end - at) + data[end:]
    return data
