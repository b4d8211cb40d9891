"""How long a span of months may be, in a command and in a split."""

MOST_MONTHS = 600
