"""The command: scripts/mutate."""

import argparse
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from mutants import table
from mutants.mutant import Mutant
from mutants.runner import BaselineError, Runner
from mutants.tree import broken_by, copied_tree

KINDS = ("python", *table.KINDS)
SAMPLE = 10
SURVIVED = "SURVIVED"
EXAMPLES = """\
examples:
  scripts/mutate                            all of ours, and a random sample of the Python code: an hour or two
  scripts/mutate sql counted_octets         mutants of SQL whose file or rule has this in it
  scripts/mutate python journal/writer      a sample of one file
  scripts/mutate --sample 0 python shipper  every mutant of one file
  scripts/mutate --seed 7 python            the sample of an earlier run, from the seed that it printed
  scripts/mutate --list policy              what would be run

A mutant is killed when a test fails, or hangs. One that survives shows a rule that no test holds: write the test. Where
nothing can notice it, an entry in tests/mutants/equivalent.toml says why.
"""


def main() -> int:
    """Run mutants as the command line says; 1 if too few were killed, 2 if some could not be judged."""
    signal.signal(signal.SIGTERM, _interrupted)
    parser = argparse.ArgumentParser(
        prog="scripts/mutate",
        description="Breaks the packet path on purpose, one place at a time, in a copy of the tree, and counts"
        " how often the tests notice.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", nargs="?", choices=[*KINDS, "all"], default="all", help="which mutants (all)")
    parser.add_argument(
        "pattern", nargs="?", default="", help="only those whose file or rule matches this regular expression"
    )
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, metavar="N", help=f"of a Python file; 0: all ({SAMPLE})"
    )
    parser.add_argument("--seed", type=int, help="of the sample (a new one each time)")
    parser.add_argument(
        "--least", type=float, default=85, metavar="PERCENT", help="exit code 1 below this score (85)"
    )
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed

    try:
        chosen = _chosen(options.kind, options.pattern, options.sample, seed)
    except table.TableError as error:
        print(error, file=sys.stderr)
        return 2
    if not chosen:
        print("No mutant is named so", file=sys.stderr)
        return 2
    print(f"{len(chosen)} mutants; Python: sample {options.sample or 'all'} a file, seed {seed}", flush=True)
    if options.list:
        for mutant in chosen:
            print(f"\n{mutant.room}: {mutant.title}\n{mutant.diff()}")
        return 0
    os.nice(10)  # for hours, beside other work
    try:
        return _run(chosen, options.least)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _chosen(kind: str, pattern: str, sample: int, seed: int) -> list[Mutant]:
    chosen: list[Mutant] = []
    if kind in ("python", "all"):
        from mutants import python  # cosmic-ray, which the tables do without

        chosen += python.mutants(sample, seed, pattern)
    for name in table.KINDS:
        if kind in (name, "all"):
            chosen += [
                mutant
                for mutant in table.mutants(name)
                if re.search(pattern, mutant.path) or re.search(pattern, mutant.title)
            ]
    return chosen


def _run(mutants: list[Mutant], least: float) -> int:
    judged: list[Mutant] = []
    survivors: list[Mutant] = []
    with copied_tree() as tree:
        runner = Runner(tree)
        for number, mutant in enumerate(mutants, 1):
            started = time.monotonic()
            try:
                how = _fate(mutant, runner, tree)
            except BaselineError as error:
                how = f"NOT JUDGED: {error}"
            else:
                judged.append(mutant)
            print(
                f"{number:4} {time.monotonic() - started:4.0f} s  {mutant.room}  {mutant.title}  {how}",
                flush=True,
            )
            if how == SURVIVED:
                survivors.append(mutant)
                print(mutant.diff(), flush=True)
    if not judged:
        return 2
    return max(_report(judged, survivors, least), 2 if len(judged) < len(mutants) else 0)


def _fate(mutant: Mutant, runner: Runner, tree: Path) -> str:
    """Run the tests of a mutant until one fails; say which. Raises BaselineError."""
    for stage in mutant.stages:
        runner.baseline(stage)
        with broken_by(mutant, tree):
            result = runner.run(stage)
        if result.failed:
            killer = result.killer or "an error before the first test"
            return f"killed by {'a hang, ' if result.timed_out else ''}{killer}"
    return SURVIVED


def _report(mutants: list[Mutant], survivors: list[Mutant], least: float) -> int:
    made, survived = (Counter(mutant.room for mutant in some) for some in (mutants, survivors))
    print("\nSurvivors:" if survivors else "\nNo survivor")
    for mutant in survivors:
        print(f"  {mutant.room}  {mutant.title}")
    print(f"\n{'room':10}{'mutants':>8}{'killed':>8}{'score':>9}")
    for room in made:
        print(_line(room, made[room], survived[room]))
    print(_line("all", len(mutants), len(survivors)))
    score = 100 * (len(mutants) - len(survivors)) / len(mutants)
    if score < least:
        print(f"Below {least:g} %", file=sys.stderr)
        return 1
    return 0


def _line(name: str, made: int, survived: int) -> str:
    return f"{name:10}{made:8}{made - survived:8}{100 * (made - survived) / made:7.1f} %"


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
