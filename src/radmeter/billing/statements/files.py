"""Finds names for the files of statements."""

from datetime import date


def file_name(period: date, whose: str, number: str) -> str:
    """Return a name without its ending: `number` makes it the only one, and it is in no other directory.

    `number` has no dash, so that the end of a name is never taken for it.
    """
    # A name has at most 255 bytes, a letter up to four.
    plain = "".join(char if char.isalnum() else "-" for char in whose)
    short = plain.encode()[:150].decode(errors="ignore")
    return f"{period:%Y-%m}-{short}-{number}"
