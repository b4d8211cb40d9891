"""radmeter turns RADIUS accounting packets into exact usage counters.

This module must not import anything: radiusd loads it together with `radmeter.plugin`, which may use the standard
library only.
"""

__version__ = "0.1.0"
