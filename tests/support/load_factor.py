"""How much longer a step takes on a machine that has more work than processors."""

import os


def load_factor() -> float:
    """Return by how much a time that a test allows grows here and now; 1 on a machine that is not busy.

    The kernel's mean lags behind a load that has just begun, so it is counted twice.
    """
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))
