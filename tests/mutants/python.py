"""The mutants of the Python code: what cosmic-ray's operators make of a file, and calls and raises left out."""

import ast
import difflib
import random
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

import parso  # noqa: F401  (before cosmic_ray, which imports it in a circle)
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from mutants.mutant import ROOT, Mutant, Stage
from mutants.table import equivalents, one_line

Position = tuple[int, int]  # line from 1, column from 0


class Change(NamedTuple):
    """A change of a file that is not made yet: parsing it for each of thousands takes minutes."""

    position: Position
    operator: str
    make: Callable[[], str | None]


# A room, its files, and the tests run where those of its own notice nothing.
ROOMS: dict[str, tuple[str, str, Stage]] = {
    "plugin": ("src/radmeter/plugin/**/*.py", "tests/unit/plugin", ()),
    "packet": (
        "src/radmeter/packet/*.py",
        "tests/unit/packet",
        ("tests/integration/ingest/test_replay.py", "tests/integration/ingest/test_rejected.py"),
    ),
    "ingest": ("src/radmeter/ingest/*.py", "tests/integration/ingest", ()),
}

# Files whose quickest tests are in another's.
OF_OTHERS: dict[str, Stage] = {
    f"src/radmeter/{file}.py": tuple(f"tests/unit/{test}.py" for test in tests)
    for file, tests in {
        "plugin/__init__": ("plugin/test_handlers",),
        "plugin/journal/files": ("plugin/journal/test_writer", "plugin/journal/test_reader"),
        "plugin/journal/headers": ("plugin/journal/test_segments",),
        "plugin/journal/kept": ("plugin/journal/test_crash",),
        "plugin/journal/locks": ("plugin/journal/test_writer", "plugin/journal/test_reader"),
        "plugin/journal/segment_reader": ("plugin/journal/test_reader", "plugin/journal/test_damage"),
        "plugin/journal/segment_writer": ("plugin/journal/test_writer",),
        "packet/detail_dates": ("packet/test_detail_file",),
    }.items()
}


def mutants(sample: int, seed: int, pattern: str) -> list[Mutant]:
    """Return mutants of the files whose path matches `pattern`, at most `sample` of each file (0: all)."""
    skipped = {(entry.file, entry.before, entry.after) for entry in equivalents()}
    chosen = []
    for room, (files, _, _) in ROOMS.items():
        for file in sorted(ROOT.glob(files)):
            path = str(file.relative_to(ROOT))
            if not re.search(pattern, path):
                continue
            source = file.read_text(encoding="utf-8")
            seen = {source}
            taken = 0
            for change in _drawn(list(_all(source)), random.Random(f"{seed} {path}")):
                broken = change.make()
                if broken is None or broken in seen or not _compiles(broken):
                    continue
                seen.add(broken)
                if (path, *changed_lines(source, broken)) in skipped:
                    continue
                title = f"{path}:{change.position[0]} {change.operator}"
                chosen.append(Mutant(room, path, title, source, broken, _stages(room, path)))
                taken += 1
                if sample and taken == sample:
                    break
    return chosen


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, before and after, each in one line."""
    left, right = before.splitlines(), after.splitlines()
    changed = [
        operation
        for operation in difflib.SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes()
        if operation[0] != "equal"
    ]
    return (
        one_line(" ".join(line for _, start, end, _, _ in changed for line in left[start:end])),
        one_line(" ".join(line for _, _, _, start, end in changed for line in right[start:end])),
    )


def _drawn(changes: list[Change], chance: random.Random) -> Iterator[Change]:
    """One change of each place first, places in random order; then another of each, until there is none left."""
    left: dict[Position, list[Change]] = defaultdict(list)
    for change in changes:
        left[change.position].append(change)
    for some in left.values():
        chance.shuffle(some)
    while left:
        for position in chance.sample(sorted(left), len(left)):
            yield left[position].pop()
            if not left[position]:
                del left[position]


def _all(source: str) -> Iterator[Change]:
    tree = ast.parse(source)
    untouched = list(_spans_without_effect(tree))
    parsed = get_ast(source)
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments() or name.endswith("/NoOp"):
            continue
        operator = operator_class()
        starts = [start for node in ast_nodes(parsed) for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(starts):
            if not any(first <= start < last for first, last in untouched):
                yield Change(
                    start, name.removeprefix("core/"), partial(mutate_code, source, operator, occurrence)
                )
    yield from _left_out(tree, source)


def _left_out(tree: ast.AST, source: str) -> Iterator[Change]:
    """Calls for their effect, and raises: what cosmic-ray leaves alone, and what makes a record durable."""
    lines = source.encode().splitlines(keepends=True)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            assert node.end_lineno is not None
            before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
            after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
            broken = (before + b"pass" + after).decode()
            yield Change((node.lineno, node.col_offset), "LeaveOut", partial(str, broken))


def _spans_without_effect(tree: ast.AST) -> Iterator[tuple[Position, Position]]:
    """Where types stand: they change nothing when the program runs."""
    for node in ast.walk(tree):
        annotations: list[ast.expr | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            annotations.append(node.annotation)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            annotations.append(node.returns)
        for annotation in annotations:
            if annotation is not None:
                assert annotation.end_lineno is not None
                assert annotation.end_col_offset is not None
                yield (
                    (annotation.lineno, annotation.col_offset),
                    (annotation.end_lineno, annotation.end_col_offset),
                )


def _compiles(source: str) -> bool:
    """Nobody writes what Python itself warns of (``is`` with a number)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            compile(source, "mutant", "exec")
        except (SyntaxError, ValueError, Warning):
            return False
    return True


def _stages(room: str, path: str) -> tuple[Stage, ...]:
    """The test file named as the code is, if there is one; the tests of its folder; then others."""
    _, tests, others = ROOMS[room]
    folder = PurePath(tests) / PurePath(path).parent.relative_to(f"src/radmeter/{room}")
    own = OF_OTHERS.get(path, (f"{folder}/test_{PurePath(path).stem}.py",))
    stages = [own, (str(folder),), others]
    return tuple(
        dict.fromkeys(stage for stage in stages if stage and all((ROOT / test).exists() for test in stage))
    )
