"""What comes with the package: the files in `sql/` and `radius/`, and what may be added to it."""

from importlib.resources import files
from pathlib import Path

# Where the .deb package has its virtual environments, one for each release.
PACKAGED = Path("/opt/radmeter/releases")


def is_packaged() -> bool:
    """Tell whether this radmeter was installed by the .deb package."""
    return Path(str(files("radmeter"))).is_relative_to(PACKAGED)


def how_to_add(extra: str) -> str:
    """Return how one of radmeter's extras is added to this installation. One package has all of them."""
    if is_packaged():
        return "apt install ./radmeter-archive_*.deb"
    return f"pip install 'radmeter[{extra}]'"


def directory(name: str) -> Path:
    """Return the path of the directory `name` (``sql`` or ``radius``).

    In an installed wheel it is inside the package. In a checkout (editable install) it is beside ``src``.
    """
    package = Path(str(files("radmeter")))
    installed = package / name
    return installed if installed.is_dir() else package.parent.parent / name
