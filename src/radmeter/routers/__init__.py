"""Routers: find, change, import."""
