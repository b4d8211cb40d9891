"""No binary fraction on the way to money: neither in the modules of billing nor in its SQL functions."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import radmeter.billing

ROOT = Path(__file__).parents[3]
MODULES = sorted(Path(radmeter.billing.__file__).parent.rglob("*.py"))
FUNCTIONS = sorted((ROOT / "sql" / "functions" / "billing").rglob("*.sql"))
# What returns a float, or rounds one.
CALLS = {"float", "round", "fsum", "sqrt", "log", "log10", "exp", "pow", "fmean", "mean", "total_seconds"}
# Quotients of these are exact. A path is no quotient at all.
EXACT = {"Fraction", "Decimal"}
PATHS = re.compile(r"path|directory|folder|root|parent|here|file|^Path$", re.IGNORECASE)
SQL = re.compile(
    r"\b(double\s+precision|real|float[48]?|random|date_part|numeric_to_float|setseed|sqrt\s*\(\s*\d|[0-9.]+e[+-]?[0-9]+)\b",
    re.IGNORECASE,
)


def floats(source: str) -> Iterator[str]:
    """Yield what may be a float in a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield f"line {node.lineno}: {node.value}"
        elif isinstance(node, ast.Name) and node.id == "float":
            yield f"line {node.lineno}: float"
        elif isinstance(node, ast.Call) and (name := _name(node.func)) in CALLS:
            yield f"line {node.lineno}: {name}()"
        elif (
            isinstance(node, ast.BinOp | ast.AugAssign)
            and isinstance(node.op, ast.Div)
            and not any(_is_exact(each) for each in ast.walk(node))
        ) or (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Pow)
            and isinstance(node.right, ast.UnaryOp)
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_exact(node: ast.AST) -> bool:
    """Say whether a part of a quotient shows that it is one of fractions or decimals, or a path."""
    if isinstance(node, ast.Call) and _name(node.func) in EXACT:
        return True
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return True
    return isinstance(node, ast.Name | ast.Attribute) and bool(PATHS.search(_name(node)))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_module_has_a_float(path: Path) -> None:
    assert list(floats(path.read_text())) == []


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.stem)
def test_no_function_has_a_float(path: Path) -> None:
    code = re.sub(r"--[^\n]*|'[^']*'", "", path.read_text())
    assert SQL.findall(code) == []


@pytest.mark.parametrize(
    "code",
    [
        "x = 0.1",
        "x = 1e3",
        "x = float('1')",
        "def f(x: float): pass",
        "x = round(y, 2)",
        "x = octets / 10",
        "x /= 2",
        "x = 10 ** -2",
        "x = math.log10(y)",
        "x = span.total_seconds()",
        "x = sum(counts) / len(counts)",
    ],
)
def test_the_rule_sees_a_float(code: str) -> None:
    assert list(floats(code))


@pytest.mark.parametrize(
    "code",
    [
        "x = Fraction(octets) * 3 / 10",
        "x = 7 // 2",
        "x = directory / name",
        "x = here / 'a.json'",
        "x = 10 ** digits",
    ],
)
def test_the_rule_lets_exact_numbers_and_paths_be(code: str) -> None:
    assert list(floats(code)) == []


@pytest.mark.parametrize(
    "code",
    ["x double precision", "SELECT 1::real", "x::float8", "date_part('day', y)", "SELECT 1e3", "random()"],
)
def test_the_rule_sees_a_float_in_sql(code: str) -> None:
    assert SQL.search(code)
