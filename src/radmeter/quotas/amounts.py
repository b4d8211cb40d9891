"""Reads octets, speeds and spans of time as people write them. What could mean two things is refused. Pure."""

import re
from decimal import Decimal

from radmeter.errors import ConfigurationError

MOST = 2**63 - 1
# 100 years. PostgreSQL cannot add much more to an instant. The functions and the table of plans have the same bound.
MOST_SECONDS = 36525 * 86400
# Some vendors take speeds in units of 8 kbit/s, and less would become 0, which means no limit.
SLOWEST = 8000

_OCTETS = {"B": 1} | {
    name: factor
    for power, letter in enumerate("kMGTPE", start=1)
    for name, factor in ((f"{letter}B", 1000**power), (f"{letter.upper()}iB", 1024**power))
}
_OCTETS["KB"] = 1000
_BITS = {"k": 1000, "M": 10**6, "G": 10**9, "T": 10**12}
_BITS["K"] = 1000
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_NUMBER = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?) ?(\S*)")
_PARTS = re.compile(r"[0-9]{1,18}[a-z]+")
_PART = re.compile(r"([0-9]+)([a-z]+)")


class BadAmount(ConfigurationError):
    """A text is not an amount, or could mean two. The message has a remedy."""


def octets(text: str) -> int:
    """Return a volume in octets: ``10MB`` is 10^7, ``10MiB`` is 10 * 2^20, a number alone is octets.

    Raises
    ------
    BadAmount
        The text is not a volume, such as ``10M``, ``10Mb`` and ``1,5GB``.
    """
    number, unit = _split(text, "a volume, such as 10MB, 1.5GiB or 0")
    if unit and unit not in _OCTETS:
        raise BadAmount(f"{text!r} is not clear: {_volumes(number, unit)}")
    return _whole(text, number, _OCTETS[unit or "B"], "octets")


def _volumes(number: str, unit: str) -> str:
    letter = unit[0].upper()
    if letter not in "KMGTPE" or not re.fullmatch(r"(?i).(i?b?|bits?|bytes?)", unit):
        return "write the unit as B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)"
    decimal = "kB" if letter == "K" else f"{letter}B"
    return f"write {number}{decimal} (powers of 1000) or {number}{letter}iB (powers of 1024)"


def bits_per_second(text: str) -> int:
    """Return a speed in bit/s: ``5M`` is 5,000,000, ``512k`` is 512,000, a number alone is bit/s.

    Raises
    ------
    BadAmount
        The text is not a speed, is one in bytes, or is below 8k.
    """
    number, unit = _split(text, "a speed in bit/s, such as 5M, 512k or 2.5M")
    short = re.sub(r"(?i:bit/s|bps)$", "", unit)
    if re.fullmatch(r"[kKMGT]?i?B(/s|ps)?", unit):
        raise BadAmount(
            f"{text!r} is in bytes, and speeds are in bits: write 8 times as much, such as 40M for 5MB/s"
        )
    if short and short not in _BITS:
        raise BadAmount(
            f"{text!r} is not a speed: write k, M or G (powers of 1000) for bit/s, such as 5M or 512k"
        )
    speed = _whole(text, number, _BITS.get(short, 1), "bit/s")
    if speed < SLOWEST:
        raise BadAmount(f"{text!r} is {speed} bit/s, and routers take 8k or more: write k or M, such as 512k")
    return speed


def seconds(text: str, *, bare: bool = False) -> int:
    """Return a span of time in seconds: ``30h``, ``90min``, ``1h30min``, ``30d``.

    Parameters
    ----------
    bare
        A number alone is seconds, as in RADIUS attributes. Otherwise it is refused.

    Raises
    ------
    BadAmount
        The text is not a span of time, or could mean two, as ``30m`` does.
    """
    given = text.strip()
    if bare and re.fullmatch(r"[0-9]{1,18}", given):
        return int(given)
    parts = _PART.findall(given) if re.fullmatch(f"(?:{_PARTS.pattern})+", given) else []
    if not parts:
        raise BadAmount(
            f"{text!r} is not a span of time: write a number with s, min, h, d or w, such as 30h or 90min"
        )
    for number, unit in parts:
        if unit == "m":
            raise BadAmount(f"{text!r} could mean minutes or months: write {number}min, or days, such as 30d")
        if unit not in _SECONDS:
            raise BadAmount(f"{text!r} is not a span of time: the units are s, min, h, d and w")
    total = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if total > MOST_SECONDS:
        raise BadAmount(f"{text!r} is more than 100 years, and 36525d is the longest span of time")
    return total


def _split(text: str, what: str) -> tuple[str, str]:
    given = text.strip()
    if re.fullmatch(r"[0-9]{1,3}([,.][0-9]{3})*,[0-9]+ ?\S*|[0-9]+,[0-9]+ ?\S*", given):
        raise BadAmount(f"{text!r} has a comma: write a point before decimals, and nothing between thousands")
    found = _NUMBER.fullmatch(given)
    if found is None:
        raise BadAmount(f"{text!r} is not {what}")
    return found[1], found[2]


def _whole(text: str, number: str, factor: int, unit: str) -> int:
    value = Decimal(number) * factor
    if value != value.to_integral_value():
        raise BadAmount(f"{text!r} is {value} {unit}: write a whole number of {unit}")
    if value > MOST:
        raise BadAmount(f"{text!r} is more than the largest number there is, {MOST:,} {unit}")
    return int(value)


def shown_speed(bits: int | None) -> str:
    """Return a speed as `bits_per_second` reads it: ``5M``; a dash if it is None."""
    if bits is None:
        return "-"
    for letter in "TGMk":
        if bits >= _BITS[letter] and bits * 1000 % _BITS[letter] == 0:
            return f"{(Decimal(bits) / _BITS[letter]).normalize():f}{letter}"
    return str(bits)


def shown_octets(count: int | Decimal | None) -> str:
    """Return a volume for people, as plans are written: ``500 GB``, ``1.5 GB``; a dash if it is None.

    It has three figures, in powers of 1000. What is short and exact only in powers of 1024 is shown so: ``1.5 GiB``.
    """
    if count is None:
        return "-"
    size, sign = abs(int(count)), "-" if count < 0 else ""
    power = min(6, (len(str(size)) - 1) // 3)
    scaled = Decimal(size) / 1000**power
    rounded = round(scaled, 2 if scaled < 10 else 1 if scaled < 100 else 0)
    binary = min(6, max(0, size.bit_length() - 1) // 10)
    if binary and rounded != scaled and size * 4 % 1024**binary == 0:
        return f"{sign}{(Decimal(size) / 1024**binary).normalize():f} {'KMGTPE'[binary - 1]}iB"
    if rounded == 1000 and power < 6:
        rounded, power = Decimal(1), power + 1
    return f"{sign}{rounded.normalize():f} {['', *'kMGTPE'][power]}B"


def shown_seconds(span: int | None) -> str:
    """Return a span of time as `seconds` reads it: ``1d6h``; a dash if it is None."""
    if span is None:
        return "-"
    text = ""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, span = divmod(span, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
