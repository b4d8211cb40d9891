"""Plans, subscribers and their quotas; requests to the routers of those who come to a limit (RFC 5176)."""
