"""Mutants of the packet path: code broken on purpose, one place at a time. Does a test notice? (scripts/mutate)

- Python: what cosmic-ray makes of each file, a random sample of it.
- SQL, and FreeRADIUS's policy: the tables `sql.toml` and `policy.toml`, written by hand.
- `equivalent.toml`: what cosmic-ray makes and no test can notice, with the reason.
"""
