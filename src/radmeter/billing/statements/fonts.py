"""Which package brings the letters of a script."""

import unicodedata

CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "HALFWIDTH", "FULLWIDTH", "KANGXI")
PACKAGES = {
    "CJK": "fonts-noto-cjk",
    "THAI": "fonts-thai-tlwg",
}
# Has the other scripts of the world.
OTHERWISE = "fonts-noto-core"


def script(char: str) -> str:
    """Return the script of a character: the first word of its Unicode name; CJK for all that its fonts have."""
    word = unicodedata.name(char, "UNKNOWN").split()[0]
    return "CJK" if word.startswith(CJK) else word


def is_letter(char: str) -> bool:
    """Return whether a name cannot do without the character, unlike a symbol."""
    return unicodedata.category(char)[0] in "LM"


def package_of(of_script: str) -> str:
    """Return the Debian package whose fonts have a script."""
    return PACKAGES.get(of_script, OTHERWISE)
