"""Statements: a tenant's documents of a month, as PDF and HTML."""
