"""What monitoring sees: figures of the database and of this host's journal, for Prometheus and for /readyz."""
