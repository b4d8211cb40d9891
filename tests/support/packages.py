"""Builds the .deb packages in a chroot of a release, from files that are fetched once."""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.chroots import ROOT, SHARED, Chroot

# The releases that packages are built for and tested on, and how packages name them.
RELEASES = {"bookworm": "debian12", "trixie": "debian13"}
# What the tests need besides radmeter's packages. It is put into the cached chroot.
BUILD = ("ca-certificates", "python3", "python3-venv")
OTHERS = (
    *(
        "adduser",
        "curl",
        "freeradius",
        "freeradius-postgresql",
        "freeradius-python3",
        "freeradius-utils",
        "postgresql",
        "systemd",
    ),
    *("logrotate", "man-db", "bash-completion", "zsh", "fish", "lintian"),
)


def cache() -> Path:
    """Return the directory outside the tree that outlives a test run."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RADMETER_CACHE", Path(home) / "radmeter"))


def wheels(name: str) -> Path:
    """Return the directory for the files of the locks as they are now, for a release or a Python."""
    locks = b"".join(path.read_bytes() for path in sorted((ROOT / "locks").iterdir()))
    return cache() / "wheels" / f"{name}-{hashlib.sha256(locks).hexdigest()[:12]}"


def checkout(to: Path) -> Path:
    """Copy the files of the checkout, those not committed too, as a fresh clone has them."""
    to.mkdir(parents=True)
    names = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    there = b"\0".join(name for name in names.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
    packed = subprocess.Popen(
        ["tar", "-C", ROOT, "--null", "--files-from=-", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    unpacked = subprocess.Popen(["tar", "-C", to, "-x"], stdin=packed.stdout)
    assert packed.stdin is not None
    packed.stdin.write(there)
    packed.stdin.close()
    assert (packed.wait(), unpacked.wait()) == (0, 0)
    assert packed.stdout is not None
    packed.stdout.close()
    return to


def build(release: str, base: Path, revisions: Sequence[int] = (1,)) -> list[Path]:
    """Build the packages of a release, and return the files: of each revision radmeter and radmeter-archive."""
    base.mkdir(parents=True, exist_ok=True)
    held = wheels(release)
    with Chroot(release, base, *BUILD, *OTHERS, network=True) as chroot:
        checkout(chroot.shared / "radmeter")
        script = f"cd {SHARED}/radmeter && ./scripts/package"
        if not held.exists():
            chroot.run(f"{script} --fetch {SHARED}/wheels", seconds=900)
            held.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", chroot.shared / "wheels", f"{held}.new"], check=True)
            Path(f"{held}.new").replace(held)
        elif not (chroot.shared / "wheels").exists():
            subprocess.run(["cp", "-a", held, chroot.shared / "wheels"], check=True)
        for revision in revisions:
            chroot.run(
                f"{script} --fast --revision {revision} --wheels {SHARED}/wheels --output {SHARED}/packages",
                seconds=900,
            )
        return sorted((chroot.shared / "packages").glob("*.deb"))
