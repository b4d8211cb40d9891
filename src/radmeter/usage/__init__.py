"""The read side: counters, sessions, the state of ingest; `verify` recomputes the counters."""
