"""What is to be delivered to endpoints: claim it, note how it ended, list it, retry it, drop it."""

import datetime
import random
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from radmeter.database.connection import Connection, explained_errors
from radmeter.webhooks.posting import GONE, Answer

# After which time a failed attempt is followed by the next. About three days together.
DELAYS = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
# Endpoints that failed together do not come back together.
JITTER = 0.2
# Larger whole numbers lose digits in JavaScript. They are sent as text.
MOST_INTEGER = 2**53 - 1

COLUMNS = (
    "id",
    "webhook",
    "type",
    "subject",
    "state",
    "attempts",
    "status",
    "error",
    "happened_at",
    "tried_at",
    "next_try_at",
    "ended_at",
    "webhook_id",
)


class Delivery(NamedTuple):
    """A message to an endpoint that this process has claimed."""

    id: int
    message_id: uuid.UUID
    type: str
    data: dict[str, Any]
    happened_at: datetime.datetime
    attempts: int

    @property
    def header_id(self) -> str:
        """The webhook-id. It is the same in each attempt, so that a receiver knows a message that it had before."""
        return f"msg_{self.message_id.hex}"


def body(kind: str, happened_at: datetime.datetime, data: dict[str, Any]) -> bytes:
    """Return the JSON of a message."""
    at = happened_at.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"type": kind, "timestamp": at, "data": _safe(data)})


def _safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _safe(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_safe(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST_INTEGER:
        return str(value)
    return value


def claim(connection: Connection, holder: uuid.UUID, webhook_id: int, seconds: float) -> Delivery | None:
    """Claim the delivery to an endpoint that has waited longest. None: none is due."""
    with explained_errors("radmeter_owner"):
        row = connection.execute(
            "SELECT id, message_id, type, data, happened_at, attempts FROM radmeter.claim_deliveries(%s, %s, %s, 1)",
            (holder, webhook_id, round(seconds)),
        ).fetchone()
    return None if row is None else Delivery(*row)


def note(
    connection: Connection,
    holder: uuid.UUID,
    delivery: Delivery,
    answer: Answer,
    delays: Sequence[float] = DELAYS,
) -> None:
    """Note how an attempt ended, and when the next one is."""
    after: float | None = None
    if answer.error is not None and answer.status != GONE and delivery.attempts <= len(delays):
        after = max(delays[delivery.attempts - 1] * (1 + JITTER * random.random()), answer.retry_after or 0.0)  # noqa: S311
    with explained_errors("radmeter_owner"):
        connection.execute(
            "SELECT radmeter.note_delivery(%s, %s, %s, %s, %s)",
            (holder, delivery.id, answer.status, answer.error, after),
        )


def deliveries(
    connection: Connection, *, state: str | None = None, webhook_id: int | None = None, most: int = 100
) -> list[dict[str, Any]]:
    """Return the latest deliveries: of one state, to one endpoint, or all."""
    with explained_errors("radmeter_reader"):
        rows = connection.execute(
            """SELECT delivery.id, webhook.url, type, subject, delivery.state, attempts, status, error, happened_at,
                      tried_at, CASE WHEN delivery.state = 'waiting' THEN next_try_at END, ended_at, webhook_id
               FROM radmeter.webhook_delivery AS delivery JOIN radmeter.webhooks AS webhook
                   ON webhook.id = delivery.webhook_id
               WHERE (%(state)s::text IS NULL OR delivery.state = %(state)s)
                 AND (%(webhook)s::bigint IS NULL OR webhook_id = %(webhook)s)
               ORDER BY delivery.id DESC LIMIT %(most)s""",
            {"state": state, "webhook": webhook_id, "most": most},
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def missing(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return those of some ids that no delivery has."""
    with explained_errors("radmeter_noc"):
        rows = connection.execute(
            "SELECT id FROM radmeter.webhook_delivery WHERE id = ANY (%s)", (list(ids),)
        ).fetchall()
    return sorted({*ids} - {row[0] for row in rows})


def change(connection: Connection, ids: Sequence[int], what: str) -> list[int]:
    """``retry`` dead deliveries or ``drop`` those that are dead or wait. Return the ids that were changed."""
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT radmeter.end_deliveries(%s, %s)", (list(ids), what)).fetchone()
    return [] if row is None else list(row[0])
