"""Reads the times and days that Python has no value for, such as infinity, which other programs may have written."""

import datetime

import psycopg
from psycopg.abc import Buffer
from psycopg.types.datetime import DateLoader, TimestamptzLoader


class FarTimestamptzLoader(TimestamptzLoader):
    """Loads a time; one that Python has no `datetime` for as None."""

    def load(self, data: Buffer) -> datetime.datetime:
        """Return the time."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return None  # type: ignore[return-value] # psycopg knows of no other value


class FarDateLoader(DateLoader):
    """Loads a day; one that Python has no `date` for as None."""

    def load(self, data: Buffer) -> datetime.date:
        """Return the day."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return None  # type: ignore[return-value] # psycopg knows of no other value


def load_far_times_as_none(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Make a connection read such times and days as None, instead of failing."""
    connection.adapters.register_loader("timestamptz", FarTimestamptzLoader)
    connection.adapters.register_loader("date", FarDateLoader)
