"""Shared by tests: servers, programs, packets, the reference model, ledgers."""
