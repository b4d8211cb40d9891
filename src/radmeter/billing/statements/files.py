"""Finds a name for the file of a tenant's statement."""

from datetime import date


def file_name(period: date, tenant_id: int, tenant: str, suffix: str) -> str:
    """Return the name of a tenant's file: no two tenants have the same, and none leaves its directory."""
    # A name has at most 255 bytes, a letter up to four.
    plain = "".join(char if char.isalnum() else "-" for char in tenant)
    short = plain.encode()[:150].decode(errors="ignore")
    return f"{period:%Y-%m}-{short}-{tenant_id}{suffix}"
