"""What `radmeter freeradius install` has changed in a configuration directory, kept there so that it can be undone."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from radmeter.errors import ServerConfigurationError

# In raddb. radiusd reads nothing in it.
DIRECTORY = "radmeter-install"
FILE = "record.json"


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
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError) as error:
            raise ServerConfigurationError(f"{path} is not what radmeter wrote there: {error}") from error

    def text(self) -> str:
        """Return the record as it is kept."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def is_empty(self) -> bool:
        """Tell whether nothing was installed."""
        return self == Record()
