"""Reads the times and days that Python has no value for, such as infinity, which other programs may have written."""

from typing import Any

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format


class _FarLoader(Loader):
    """Loads by psycopg's own loader, which is in C where psycopg is: a page of sessions has a hundred times."""

    kind = ""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        own = psycopg.adapters.get_loader(psycopg.adapters.types[self.kind].oid, Format.TEXT)
        assert own is not None
        self._own = own(oid, context)

    def load(self, data: Buffer) -> Any:
        """Return the value."""
        try:
            return self._own.load(data)
        except psycopg.DataError:
            return None


class FarTimestamptzLoader(_FarLoader):
    """Loads a time; one that Python has no `datetime` for as None."""

    kind = "timestamptz"


class FarDateLoader(_FarLoader):
    """Loads a day; one that Python has no `date` for as None."""

    kind = "date"


def load_far_times_as_none(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Make a connection read such times and days as None, instead of failing."""
    connection.adapters.register_loader("timestamptz", FarTimestamptzLoader)
    connection.adapters.register_loader("date", FarDateLoader)
