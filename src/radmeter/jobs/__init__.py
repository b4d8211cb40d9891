"""Jobs that run every few minutes, in one process at a time."""
