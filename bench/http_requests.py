"""How fast `radmeter serve` answers: usage of users, and lists, at a rate that is asked for.

`python -m bench.http_requests --user NAME` runs hey (Debian's package) against a server that runs, such as that of
`radmeter up` (RADMETER_HTTP_URL, RADMETER_HTTP_KEY), and prints the percentiles of each address, with the load of the
machine at which they were measured. The rate of the key must be higher than what is asked for.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

WORKERS = 50
# The limits, in milliseconds: usage of a user, and lists.
USAGE_P95, LIST_P95 = 50.0, 100.0


class Measured(NamedTuple):
    """What hey found: requests a second, percentiles in milliseconds, and how many answers were not 200."""

    path: str
    per_second: float
    p50: float
    p95: float
    p99: float
    errors: int


def main() -> int:
    """Measure, print, and return 0 if the limits were kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default=os.environ.get("RADMETER_HTTP_URL"), help="[env: RADMETER_HTTP_URL]")
    parser.add_argument("--user", required=True, help="a user name")
    parser.add_argument("--rate", type=int, default=500, help="requests a second")
    parser.add_argument("--seconds", type=int, default=20, help="for each address")
    given = parser.parse_args()
    key = os.environ.get("RADMETER_HTTP_KEY", "")
    if shutil.which("hey") is None or not given.url or not key:
        print("needs hey (apt install hey), RADMETER_HTTP_URL and RADMETER_HTTP_KEY", file=sys.stderr)
        return 2
    kept = True
    print(f"load of the machine before: {' '.join(f'{each:.1f}' for each in os.getloadavg())}")
    print("| address | requests/s | p50 ms | p95 ms | p99 ms | errors |\n|---|---|---|---|---|---|")
    for path, limit in (
        (f"/users/{given.user}/usage", USAGE_P95),
        ("/sessions?open=true&limit=50", LIST_P95),
        ("/routers?limit=50", LIST_P95),
    ):
        found = measured(f"{given.url}/api/v1{path}", path, key, given.rate, given.seconds)
        percentiles = f"{found.p50:.1f} | {found.p95:.1f} | {found.p99:.1f}"
        print(f"| `{path}` | {found.per_second:.0f} | {percentiles} | {found.errors} |")
        kept = kept and found.p95 < limit and found.errors == 0
    print(f"load of the machine after: {' '.join(f'{each:.1f}' for each in os.getloadavg())}")
    return 0 if kept else 1


def measured(url: str, path: str, key: str, rate: int, seconds: int) -> Measured:
    """Send requests to an address for some seconds, and return what came back."""
    done = subprocess.run(
        [
            "hey",
            *("-z", f"{seconds}s", "-c", str(WORKERS), "-q", str(rate / WORKERS)),
            *("-H", f"Authorization: Bearer {key}", url),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    text = done.stdout
    percentiles = {
        int(each): float(value) * 1000 for each, value in re.findall(r"(\d+)%+ in ([\d.]+) secs", text)
    }
    answers = {
        int(status): int(count) for status, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", text)
    }
    failed = sum(
        int(count)
        for count in re.findall(r"^\s*\[(\d+)\]\s+\D", text.partition("Error distribution")[2], re.M)
    )
    return Measured(
        path,
        float((re.search(r"Requests/sec:\s+([\d.]+)", text) or ["", "0"])[1]),
        percentiles.get(50, 0.0),
        percentiles.get(95, 0.0),
        percentiles.get(99, 0.0),
        failed + sum(count for status, count in answers.items() if status != 200),
    )


if __name__ == "__main__":
    sys.exit(main())
