"""Measures how much disk an installation takes: the .deb package, and radmeter as pip installs it without extras."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHEELS = ROOT / ".venv" / "wheels"
BLOCK_BYTES = 4096
MEGABYTE = 1_000_000
PACKAGE = "package radmeter"
# What the package may take of a RADIUS host, in MB.
TARGET = 60


def on_disk(directory: Path) -> int:
    """Return the bytes that a directory takes on a file system with blocks of 4 KiB, such as ext4."""
    blocks = 0
    for path in (directory, *directory.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            blocks += 1
        elif not path.is_symlink():  # a link is in its inode
            blocks += -(-path.stat().st_size // BLOCK_BYTES)
    return blocks * BLOCK_BYTES


def measure(private: Path) -> dict[str, float]:
    """Return the MB of each kind of installation. The package is left out if this is no Debian."""
    found = {"pip, without extras": _by_pip(private / "site") / MEGABYTE}
    if shutil.which("dpkg-deb"):
        found[PACKAGE] = _package(private) / MEGABYTE
    return found


def _by_pip(to: Path) -> int:
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--target", to)
    _run(*pip, "--require-hashes", "--requirement", ROOT / "locks" / "base.txt")
    _run(*pip, "--no-build-isolation", "--no-deps", ROOT)
    size = on_disk(to)
    shutil.rmtree(to)
    return size


def _package(private: Path) -> int:
    source = ("--wheels", WHEELS) if WHEELS.is_dir() else ()
    options = ("--fast", "--only", "radmeter", "--output", private / "packages")
    _run(ROOT / "scripts" / "package", *options, *source)
    (package,) = (private / "packages").glob("radmeter_*.deb")
    _run("dpkg-deb", "--extract", package, private / "package")
    size = on_disk(private / "package")
    shutil.rmtree(private / "packages")
    shutil.rmtree(private / "package")
    return size


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}")
