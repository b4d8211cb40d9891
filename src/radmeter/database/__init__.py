"""Access to PostgreSQL: connections, errors, lock retries, advisory locks and the read interface."""
