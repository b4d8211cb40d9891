"""Makes text harmless for spreadsheets: none runs it as a formula, and control characters are written out."""

import re
import unicodedata

from radmeter.printable import escaped

# What begins a formula; U+2212 is the minus sign of typographers.
FORMULA = ("=", "+", "-", "@", "\u2212")
# What programs skip at the head of a cell: blanks, quotes, and characters without a width.
SKIPPED = ' \t\r\n\v\f"\x00\u00a0\u3000\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u061c'


def harmless(text: str, separators: str = ";") -> str:
    """Return text for a cell of CSV that no spreadsheet runs, with control characters written out.

    A formula begins with =, +, - or @, also in their wide forms; a TAB or a line break before it may be skipped
    (OWASP, CSV Injection). Where one of `separators` separates cells, text behind it begins a cell.
    """
    parts = re.split(f"([{re.escape(separators)}])", text)
    return "".join(
        # What matched is at the odd places.
        part if place % 2 else ("'" if _begins_formula(part) else "") + escaped(part)
        for place, part in enumerate(parts)
    )


def _begins_formula(text: str) -> bool:
    if text[:1] in ("\t", "\r", "\n"):
        return True
    head = text.lstrip(SKIPPED)[:1]
    return head != "" and unicodedata.normalize("NFKC", head) in FORMULA
