"""Amounts and time spans in words, for people."""

from collections.abc import Sequence
from decimal import Decimal

# What users carried is in powers of 1000, as plans, rates and bills are. What lies on a disk is in powers of 1024, as
# the settings that bound it.
DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def volume(count: int | Decimal | None) -> str:
    """Return octets that users carried, such as ``1.50 GB``; a dash if it is None."""
    return _two_decimals(count, 1000, DECIMAL)


def compact_volume(count: int | Decimal | None) -> str:
    """Return octets that users carried with three figures, at most seven characters, such as ``15.0 GB``."""
    return _three_figures(count, 1000, DECIMAL)


def disk_size(count: int | Decimal | None) -> str:
    """Return what a file, a table or a disk takes, such as ``1.50 GiB``; a dash if it is None."""
    return _two_decimals(count, 1024, BINARY)


def compact_disk_size(count: int | Decimal | None) -> str:
    """Return what a file, a table or a disk takes with three figures, such as ``15.0 GiB``."""
    return _three_figures(count, 1024, BINARY)


def _two_decimals(count: int | Decimal | None, base: int, units: Sequence[str]) -> str:
    if count is None:
        return "-"
    size, unit = abs(Decimal(count)), units[0]
    for unit in units:
        # Not 1000.00 kB for what rounds to 1 MB.
        if size < (base if unit == units[0] else base - Decimal("0.005")) or unit == units[-1]:
            break
        size /= base
    sign = "-" if count < 0 else ""
    return f"{sign}{int(size)} B" if unit == "B" else f"{sign}{size:.2f} {unit}"


def _three_figures(count: int | Decimal | None, base: int, units: Sequence[str]) -> str:
    if count is None:
        return "-"
    size, unit = abs(float(count)), units[0]
    for unit in units:
        if size < base - 0.5 or unit == units[-1]:
            break
        size /= base
    digits = 0 if unit == units[0] or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{'-' if count < 0 else ''}{size:.{digits}f} {unit}"


# What volumes are billed by.
VOLUMES = {"GB": 10**9, "GiB": 2**30}


def in_unit(count: int | Decimal | None, unit: str) -> str:
    """Return octets in GB or GiB with three decimals, such as ``1,234.567 GB``, so that rows can be compared."""
    if count is None:
        return "-"
    thousandths = round(Decimal(count) * 1000 / VOLUMES[unit])
    if count and not thousandths:
        return f"{'>-' if count < 0 else '<'}0.001 {unit}"
    return f"{Decimal(thousandths).scaleb(-3):,.3f} {unit}"


def amount(count: float) -> str:
    """Return a count with thousands separators, such as ``12,345``."""
    return f"{count:,.0f}"


def duration(seconds: float) -> str:
    """Return a time as people read it: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def interval(seconds: float) -> str:
    """Return a time that comes again, without a rest of nothing: ``30 s``, ``5 min``, ``1 h 30 min``."""
    whole, _, rest = duration(seconds).rpartition(" 0 ")
    return whole or rest


def counted(count: int, thing: str, things: str | None = None) -> str:
    """Return a count with its noun: ``1 packet``, ``1,200 packets``. `things` is the plural, if it is not with an s."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def verb(count: int, one: str = "is", many: str = "are") -> str:
    """Return the verb that goes with a count: ``1 packet stays``, ``2 packets stay``."""
    return one if count == 1 else many


def span(thing: str, first: int, last: int | None) -> str:
    """Return a range of numbers: ``number 3``, ``numbers 3 to 5``; ``numbers from 3 on`` if the last is not known."""
    if last is None:
        return f"{thing}s from {first} on"
    return f"{thing} {first}" if first == last else f"{thing}s {first} to {last}"
