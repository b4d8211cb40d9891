"""Lists: a query with an order, of which a page or a CSV file is read. Pages go on after a key, never at an offset."""

import functools
import types
import typing
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
from psycopg import postgres
from psycopg.rows import dict_row

from radmeter.api.connection import ApiConnection

Row = dict[str, Any]
Item = TypeVar("Item", bound=msgspec.Struct)
# Above it, programs that keep numbers as 64-bit floats would round (RFC 8259, section 6).
EXACT = 2**53
FETCHED_ROWS = 2000


@dataclass(frozen=True)
class Order:
    """A column of the order, and its type in PostgreSQL."""

    column: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[Item]):
    """A list.

    Attributes
    ----------
    query
        A SELECT with a WHERE, without an order. Its columns are the fields of `item`.
    order
        The columns of the order as the query names its sources, unique together. A NULL in the first one is found only
        in descending order.
    """

    query: str
    values: Mapping[str, Any]
    order: Sequence[Order]
    item: type[Item]
    descending: bool = False

    async def page(
        self,
        connection: ApiConnection,
        limit: int,
        after: Sequence[str | None] | None = None,
        *,
        last: bool = False,
    ) -> tuple[list[Item], list[str | None] | None]:
        """Return the next rows, and the key to go on after; None: no more. `last`: the transaction ends with it."""
        values: Row = {**self.values, "most": limit + 1}
        query = self._with_keys()
        if after is not None:
            if len(after) != len(self.order):
                raise ValueError(f"a key of {len(self.order)} columns, not of {len(after)}")
            query += f" AND {self._after(after)}"
            values |= {f"key_{number}": each for number, each in enumerate(after)}
        (found,) = await connection.read((f"{query} {self._ordered()} LIMIT %(most)s", values), last=last)
        read = _tuple_reader(self.item, found.names, found.types)
        keys = len(self.order)
        key = list(found.rows[limit - 1][:keys]) if len(found.rows) > limit else None
        return [read(row) for row in found.rows[:limit]], key

    async def everything(self, connection: ApiConnection) -> AsyncIterator[list[Item]]:
        """Yield all rows, some at a time, by a cursor of the server."""
        read = reader(self.item)
        await connection.begin()
        async with connection.cursor("listing", row_factory=dict_row) as cursor:
            await cursor.execute(f"{self.query} {self._ordered()}".encode(), self.values)
            while several := await cursor.fetchmany(FETCHED_ROWS):
                yield [read(row) for row in several]

    def _with_keys(self) -> str:
        keys = ", ".join(f"({each.column})::text AS _key_{number}" for number, each in enumerate(self.order))
        return self.query.replace("SELECT ", f"SELECT {keys}, ", 1)

    def _ordered(self) -> str:
        return "ORDER BY " + ", ".join(
            each.column + (" DESC" if self.descending else "") for each in self.order
        )

    def _after(self, key: Sequence[str | None]) -> str:
        columns = ", ".join(each.column for each in self.order)
        values = ", ".join(f"%(key_{number})s::{each.kind}" for number, each in enumerate(self.order))
        if key[0] is None and self.descending and len(self.order) == 2:
            first, second = self.order
            return f"({first.column} IS NOT NULL OR {second.column} < %(key_1)s::{second.kind})"
        return f"({columns}) {'<' if self.descending else '>'} ({values})"


async def rows(connection: ApiConnection, query: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    """Return the rows of a query as dictionaries."""
    (found,) = await several(connection, (query, values))
    return found


async def several(
    connection: ApiConnection, *statements: tuple[str, Mapping[str, Any] | None], last: bool = False
) -> list[list[Row]]:
    """Return the rows of each of some queries, in one trip. `last`: they end the transaction."""
    found = await connection.read(*statements, last=last)
    return [[dict(zip(each.names, row, strict=True)) for row in each.rows] for each in found]


def exact(value: Any) -> int | str | None:
    """Return a count of octets: a number, or from 2^53 on its digits as text."""
    if value is None:
        return None
    number = int(value)
    return number if -EXACT < number < EXACT else str(number)


_READERS: dict[type, Callable[[Row], Any]] = {}


def reader(item: type[Item]) -> Callable[[Row], Item]:
    """Return a function that makes an item of a row: octets exact, addresses and MACs as text."""
    found = _READERS.get(item)
    if found is None:
        hints = typing.get_type_hints(item)
        convert = {name: _conversion(hints[name]) for name in item.__struct_fields__}

        def read(row: Row) -> Item:
            return item(
                **{
                    name: value if to is None else to(value)
                    for name, to in convert.items()
                    for value in (row[name],)
                }
            )

        found = _READERS[item] = read
    return found


# As PostgreSQL numbers its types: what psycopg reads as text, and as whole numbers.
_TEXTS = frozenset(postgres.types[name].oid for name in ("text", "varchar", "name", "bpchar"))
_WHOLES = frozenset(postgres.types[name].oid for name in ("int2", "int4", "int8"))


@functools.lru_cache(maxsize=512)
def _tuple_reader(
    item: type[Item], names: tuple[str, ...], types: tuple[int, ...]
) -> Callable[[tuple[Any, ...]], Item]:
    """Return a function as `reader` does, for rows without names: a page has fifty, and most values are as they are."""
    hints = typing.get_type_hints(item)
    fields = item.__struct_fields__
    places = [names.index(field) for field in fields]
    convert = []
    for number, (field, place) in enumerate(zip(fields, places, strict=True)):
        to = _conversion(hints[field])
        if (to is _text and types[place] in _TEXTS) or (to is _whole and types[place] in _WHOLES):
            to = None
        if to is not None:
            convert.append((number, to))

    def read(row: tuple[Any, ...]) -> Item:
        values = [row[place] for place in places]
        for number, to in convert:
            values[number] = to(values[number])
        return item(**dict(zip(fields, values, strict=True)))

    return read


def _conversion(hint: Any) -> Callable[[Any], Any] | None:
    kinds = (
        set(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else {hint}
    )
    if {int, str} <= kinds:
        return exact
    if str in kinds:
        return _text
    if int in kinds:
        return _whole
    if float in kinds:
        return _real
    return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    # Money and prices keep their digits.
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _real(value: Any) -> float | None:
    return None if value is None else float(value)
