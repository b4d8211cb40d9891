"""What `radmeter freeradius install` has changed in a configuration directory, kept there so that it can be undone."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from radmeter.errors import ServerConfigurationError

# In raddb. radiusd reads nothing in it.
DIRECTORY = "radmeter-install"
FILE = "record.json"


def _is_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) and "\0" not in line for line in value)


def _is_dict(value: object, is_value: Callable[[object], bool]) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(name, str) for name in value)
        and all(map(is_value, value.values()))
    )


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Record:
    """The changes, with paths below raddb.

    `copied` has the digest of each file as it was written, `links` where each link leads, `inserted` the lines that
    were added to a file, `made` directories outside.
    """

    copied: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    inserted: dict[str, list[list[str]]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, raddb: Path) -> "Record":
        """Read the record of a configuration directory. It is empty if nothing was installed.

        Raises
        ------
        ServerConfigurationError
            The file is not a record.
        OSError
            It cannot be read.
        """
        path = raddb / DIRECTORY / FILE
        try:
            record = cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, RecursionError) as error:
            raise ServerConfigurationError(f"{path} is not what radmeter wrote there: {error}") from error
        if fault := record.fault():
            raise ServerConfigurationError(f"{path} is not what radmeter wrote there: {fault}")
        return record

    def fault(self) -> str:
        """Return what in it this command has not written: another type, or a path outside raddb; "" if nothing."""
        for name in ("copied", "links"):
            if not _is_dict(getattr(self, name), lambda value: isinstance(value, str)):
                return name
        if not _is_dict(
            self.inserted, lambda blocks: isinstance(blocks, list) and all(map(_is_lines, blocks))
        ):
            return "inserted"
        if not _is_lines(self.made):
            return "made"
        for name in (*self.copied, *self.links, *self.inserted):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
                return f"{name!r} is not the name of a file below raddb"
        return ""

    def text(self) -> str:
        """Return the record as it is kept."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def is_empty(self) -> bool:
        """Tell whether nothing was installed."""
        return self == Record()
