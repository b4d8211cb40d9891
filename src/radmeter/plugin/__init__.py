"""Inside radiusd: an Accounting-Request into the journal. Standard library only.

`module = radmeter.plugin` in the operator's raddb names this package. rlm_python3 asks it for FUNCTIONS, which are in
`handlers`. They are looked up only when asked for (PEP 562): the shipper, which has no module `radiusd`, imports the
journal from here.
"""

import importlib

FUNCTIONS = ("instantiate", "accounting", "detach")


def __getattr__(name: str) -> object:
    # Not `from radmeter.plugin import handlers`: that asks this function for `handlers`, without end.
    if name not in FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("radmeter.plugin.handlers"), name)
