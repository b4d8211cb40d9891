"""Upgrades of the schema: revisions, SQL files, ownership, plan, script, manifest and drift."""
