"""Who calls."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, and as what: reader, noc, billing or tenant."""

    key_id: str
    name: str
    role: str
    kind: str = "key"
    """key, or user: somebody whom the operator's proxy has named."""
    tenant_id: int | None = None
    tenant: str | None = None
    rate_count: int = 300
    rate_seconds: int = 60
    expires_at: datetime | None = None
    login: str | None = None
    """The number of the login to the pages, which somebody may end."""

    @property
    def share(self) -> str:
        """Whose part of what all share a request takes: that of a tenant, or of a key and those that followed it."""
        return f"{self.kind} {self.name}" if self.tenant_id is None else f"tenant {self.tenant_id}"
