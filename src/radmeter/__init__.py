"""radmeter: RADIUS accounting packets into exact usage counters.

This module stays free of imports: radiusd loads it together with `radmeter.plugin`, and nothing but the standard
library may come with it.
"""

__version__ = "0.1.0"
