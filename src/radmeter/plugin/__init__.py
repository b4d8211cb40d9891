"""The plugin inside radiusd: it writes each Accounting-Request into the journal. Standard library only.

`module = radmeter.plugin` in the operator's raddb names this package. rlm_python3 asks it for FUNCTIONS, which are in
`handlers`. `handlers` is imported only when one of them is asked for (PEP 562), because the shipper imports the
journal from this package and has no module `radiusd`.
"""

import importlib

FUNCTIONS = ("instantiate", "accounting", "detach")


def __getattr__(name: str) -> object:
    # `from radmeter.plugin import handlers` would call this function for `handlers`, again and again.
    if name not in FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("radmeter.plugin.handlers"), name)
