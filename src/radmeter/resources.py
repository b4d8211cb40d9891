"""Where the files that ship with the package are: `sql/` and `radius/`."""

from importlib.resources import files
from pathlib import Path


def directory(name: str) -> Path:
    """Return the directory `name` (``sql`` or ``radius``).

    In an installed wheel it lies inside the package; in a checkout (editable install) beside ``src``.
    """
    package = Path(str(files("radmeter")))
    installed = package / name
    return installed if installed.is_dir() else package.parent.parent / name
