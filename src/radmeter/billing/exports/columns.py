"""The columns of exports: name, kind, and what a value means, with its unit."""

from dataclasses import dataclass
from typing import Literal

# text is somebody's: a name, a description. word is one of ours: a status, a time zone, a MAC address. octets may be
# more than a double can count.
Kind = Literal["text", "word", "integer", "octets", "decimal", "date", "time", "boolean"]


@dataclass(frozen=True)
class Column:
    """A column. `meaning` stands in the manifest.

    `digits` is how many digits a decimal has at most, before and after the point. A Parquet file keeps it exactly so,
    if all values fit; else as text.
    """

    name: str
    kind: Kind
    meaning: str
    digits: tuple[int, int] = (38, 0)

    @property
    def is_string(self) -> bool:
        """Return whether the values are text in every format."""
        return self.kind in ("text", "word")

    @property
    def is_whole(self) -> bool:
        """Return whether the values are whole numbers."""
        return self.kind in ("integer", "octets")


def money(name: str, meaning: str) -> Column:
    """Return a column of an amount in the currency of its row. No currency has more than 4 digits."""
    return Column(name, "decimal", meaning, (16, 4))


def octets(name: str, meaning: str) -> Column:
    """Return a column of octets."""
    return Column(name, "octets", f"{meaning}, octets")
