"""A connection to PostgreSQL and how to behave on it: errors, lock retries, advisory locks, the read interface."""
