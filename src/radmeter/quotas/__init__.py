"""Enforces quotas in mid-session: Disconnect- and CoA-Requests to routers (RFC 5176)."""
