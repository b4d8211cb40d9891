"""Shows volumes, speeds and spans of plans in a table as people write them: 500 GB, 50 Mbit/s, 1h30min."""

from collections.abc import Iterable

from radmeter.cli.common import Figure, Row

SPEEDS = ("speed_down", "speed_up")


def readable(row: Row, spans: Iterable[str] = ()) -> Row:
    """Return a row for a table. Columns whose name has the word ``bytes`` are volumes, `spans` are seconds."""
    from radmeter.quotas.amounts import shown_octets, shown_seconds, shown_speed

    shown = dict(row)
    for name, value in row.items():
        if "bytes" in name.split("_"):
            shown[name] = Figure(shown_octets(value))
        elif value is None:
            continue
        elif name in SPEEDS:
            number = shown_speed(value)
            shown[name] = f"{number[:-1]} {number[-1]}bit/s" if number[-1].isalpha() else f"{number} bit/s"
        elif name in spans:
            shown[name] = shown_seconds(value)
    return shown
