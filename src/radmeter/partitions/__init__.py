"""Months of radacct: made ahead, archived, restored."""
