"""The embedded PostgreSQL, which comes with radmeter."""
