"""The attributes of RADIUS for pyrad, another implementation, with which tests check what radmeter sends."""

from pathlib import Path

from pyrad.dictionary import Dictionary


def dictionary() -> Dictionary:
    """Return the attributes that routers and radmeter send."""
    return Dictionary(str(Path(__file__).with_name("dictionary")))
