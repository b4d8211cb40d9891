"""Finds the files that come with the package: `sql/` and `radius/`."""

from importlib.resources import files
from pathlib import Path


def directory(name: str) -> Path:
    """Return the path of the directory `name` (``sql`` or ``radius``).

    In an installed wheel it is inside the package. In a checkout (editable install) it is beside ``src``.
    """
    package = Path(str(files("radmeter")))
    installed = package / name
    return installed if installed.is_dir() else package.parent.parent / name
