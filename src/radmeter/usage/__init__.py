"""Reads counters, sessions and the state of ingest; `verify` recomputes the counters."""
