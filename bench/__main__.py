"""Compare radmeter with rlm_sql on this machine: packets answered, packets counted, and the cost of a packet.

Starts all programs on the loopback, in its own directory under var/bench/. Leaves only results.md, results.json and, if
matplotlib is installed, plots. After each run it compares the totals of every user and router with what was sent, to
the byte, and fails if they differ.
"""

import argparse
import fcntl
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import (
    closing,
    closing_history,
    closing_users,
    commands,
    endurance,
    exports,
    http_requests,
    logins,
    lookups,
    plots,
    quotas,
    report,
    rounds,
    several,
    soak,
)
from bench.database import Databases
from bench.flood import flood
from bench.floods import floods
from bench.load import Generator
from bench.plan import CHECK, FULL, PARTS, QUICK, Plan
from bench.systems import Bench
from bench.targets import judge
from bench.traffic import Population, Traffic, session_begin_base
from radmeter.config import Settings
from radmeter.embedded.server import EmbeddedPostgresql
from radmeter.errors import RadmeterError
from radmeter.freeradius import private_server

RESULTS = Path(__file__).parents[1] / "var" / "bench"
RADDB = (Path("/etc/freeradius/3.0"), Path("/etc/raddb"), Path("/usr/local/etc/raddb"))
ECHO_PACKETS = 60_000
# Two radiusd behind one port change the machine's rules of nftables, so they are asked for.
ASKED_FOR = ("several",)
CHECKED = (
    *(
        "systems",
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
    ),
)


def main() -> int:
    """Run the parts that the command line names. Return 1 if totals differ or, with --check, if a target is missed."""
    options = _options()
    plan = QUICK if options.quick else CHECK if options.check else FULL
    parts = options.parts or (CHECKED if options.check else [part for part in PARTS if part not in ASKED_FOR])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped and deleted
    RESULTS.mkdir(parents=True, exist_ok=True)
    lock = (RESULTS / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"error: another benchmark is running ({lock.name}): both would be disturbed", file=sys.stderr)
        return 1
    for killed in RESULTS.glob("run-*"):  # left by killed runs: with the lock held, no other run is alive
        shutil.rmtree(killed, ignore_errors=True)
    private = Path(tempfile.mkdtemp(prefix="run-", dir=RESULTS))
    started = time.monotonic()

    def say(message: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {message}", file=sys.stderr, flush=True)

    if options.soak is None:
        for earlier in [*RESULTS.glob("results.*"), *RESULTS.glob("*.png")]:
            earlier.unlink()

    def keep(found: dict[str, Any]) -> None:
        """Write the results so far, so that an hour's run that ends early loses nothing."""
        found["seconds"] = round(time.monotonic() - started)
        report.write(found, RESULTS)

    try:
        if options.soak is not None:
            return _soak(options.soak, private, say)
        results = _measure(plan, parts, private, say, keep)
    except (RadmeterError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; {RESULTS} has the parts that were finished", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(private, ignore_errors=True)
    results["seconds"] = round(time.monotonic() - started)
    written = report.write(results, RESULTS)
    if plots.possible():
        written += plots.draw(results, RESULTS)
    else:
        say("no plots: matplotlib is missing (scripts/setup bench)")
    print(report.markdown(results))
    say("written: " + " ".join(str(path) for path in written))
    missed = [target for target in judge(results) if not target.within_slack]
    return 1 if options.check and missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--quick", action="store_true", help="rough figures in under 3 minutes, instead of about 45 minutes"
    )
    how.add_argument(
        "--check",
        action="store_true",
        help="measure only what the targets need; exit with 1 if one is missed by more than its slack",
    )
    how.add_argument(
        "--soak",
        type=float,
        metavar="HOURS",
        help="run everything together for so long, such as 0.02, and nothing else; exit with 1 if a target is missed",
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        metavar="PART",
        help=f"measure only these parts: {', '.join(PARTS)}",
    )
    return parser.parse_args()


def _measure(
    plan: Plan,
    parts: Sequence[str],
    private: Path,
    say: rounds.Say,
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    raddb = _raddb()
    generator = Generator(private)
    results: dict[str, Any] = {
        "machine": _machine(private),
        "sizes": {name: rounds.sessions(getattr(plan, name)) for name in ("small", "large")},
    }
    say("load generator against an echo")
    results["generator"] = _echo(generator)
    with EmbeddedPostgresql(private / "postgresql") as server:
        databases = Databases(server, raddb, session_begin_base())
        bench = Bench(directory=private, databases=databases, generator=generator, raddb=raddb)
        measures: dict[str, Callable[[], Any]] = {
            "systems": lambda: rounds.of_systems(bench, plan, say),
            "several": lambda: several.measure(bench, plan, say),
            "large": lambda: rounds.of_large(bench, plan, results.get("systems", {}), say),
            "lookups": lambda: lookups.measure(databases, plan.lookups, say),
            "commands": lambda: commands.measure(databases, private, say),
            "quotas": lambda: quotas.measure(databases, say),
            "exports": lambda: exports.measure(databases, private, plan.export_sessions, say),
            "logins": lambda: logins.measure(bench, plan, say),
            "http": lambda: http_requests.measure(bench, plan, say),
            "closing": lambda: (
                closing.measure(databases, private, plan.closing_tenants, say)
                | closing_history.measure(databases, plan.closing_tenants // 10)
                | closing_users.measure(databases, plan.closing_users)
            ),
            "flood": lambda: flood(bench, plan, say),
            "floods": lambda: floods(bench, plan, say),
            "recovery": lambda: endurance.recover(bench, plan, say),
            "away": lambda: endurance.lose_database(bench, plan, say),
        }
        for part, measure in measures.items():
            if part in parts:
                results[part] = measure()
                keep(results)
    return results


def _raddb() -> Path:
    found = next((path for path in RADDB if (path / "mods-config/sql/main/postgresql").is_dir()), None)
    if found is None:
        raise RuntimeError(
            "FreeRADIUS's queries for PostgreSQL are not installed, or not readable for this user "
            "(on Debian or Ubuntu: apt install freeradius freeradius-python3 freeradius-postgresql)"
        )
    return found


def _soak(hours: float, private: Path, say: rounds.Say) -> int:
    with EmbeddedPostgresql(private / "postgresql") as server:
        raddb = _raddb()
        bench = Bench(
            directory=private,
            databases=Databases(server, raddb, session_begin_base()),
            generator=Generator(private),
            raddb=raddb,
        )
        found = soak.measure(bench, hours, say)
    print(soak.report(found))
    say(f"written: {soak.written(found, RESULTS)}")
    return 0 if soak.kept(found) else 1


def _echo(generator: Generator) -> dict[str, Any]:
    """Measure the load generator itself."""
    traffic = Traffic(Population(open_sessions=10_000, routers=50), secret=b"x", base=session_begin_base())
    with (
        generator.echo() as port,
        generator.start(traffic.build(ECHO_PACKETS), port, in_flight=128, seconds=10) as load,
    ):
        outcome = load.finish()
    return {
        "language": generator.language,
        "echo_rate": outcome.rate,
        "echo_cpu_us": 1e6 * outcome.cpu_seconds / outcome.acknowledged,
    }


def _machine(private: Path) -> dict[str, str]:
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    program = private_server.prepare(private, Settings.load({})).command[0]
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "CPU": cpu[0].partition(":")[2].strip() if cpu else platform.machine(),
        "kernel": platform.release(),
        "FreeRADIUS": version.partition("\n")[0],
        "directory": str(private.parent),
    }


if __name__ == "__main__":
    sys.exit(main())
