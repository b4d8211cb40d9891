"""The manifest of an export: what is in the file, its sums, its SHA-256, and the state of the database it is from."""

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from radmeter import __version__
from radmeter.billing.exports.columns import Column

# The version of the columns. It grows when one goes or gets another meaning, not when one is added at the end.
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a manifest says. Only `snapshot` and `exported_at` differ between two exports of the same data."""

    what: str
    rows_are: str
    first_day: str
    last_day: str
    closed: bool
    tenant: str | None
    format: str
    options: dict[str, Any]
    columns: tuple[Column, ...]
    rows: int
    totals: dict[str, Any]
    totals_by_currency: dict[str, dict[str, Any]] | None
    file: str | None
    size: int
    sha256: str
    snapshot: str
    exported_at: str
    schema_version: int = SCHEMA_VERSION
    radmeter: str = __version__

    def content(self) -> bytes:
        """Return the content of the manifest's file."""
        said = asdict(self)
        said["bytes"] = said.pop("size")
        said["columns"] = [
            {"name": each.name, "kind": each.kind, "meaning": each.meaning} for each in self.columns
        ]
        return (json.dumps(said, indent=2, ensure_ascii=False, default=_plain) + "\n").encode()


def _plain(value: object) -> int | str:
    """Return a sum: octets as a number, an amount as text with its digits."""
    assert isinstance(value, Decimal)
    return format(value, "f")
