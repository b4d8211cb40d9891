"""Claims requests of radmeter.disconnect_queue, and records what became of them.

A claim is a lease: `claimed_by` and `claimed_until` of the row. Another worker takes a row only when its lease is over,
so two leaders never send the same request at once. If a worker dies between sending and recording, the request is sent
again. That is harmless: the router ends the session or says that it has none.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
import psycopg
from psycopg.rows import dict_row

from radmeter.database.connection import explained_errors
from radmeter.quotas.coa import Act, Profile, identity_sets
from radmeter.quotas.following import Asked, Step
from radmeter.quotas.limits import Limits, VendorAttribute

# A claim lasts longer than all datagrams of a request and of the Disconnect-Request that may follow it.
CLAIM_SECONDS = 60
CLAIM_MOST = 500
# How many requests of one router are claimed at once.
CLAIM_PER_ROUTER = 32
FIRST_SILENCE_SECONDS = 15
LONGEST_SILENCE_SECONDS = 3600
# A request that lacks a setting is looked at this often. `routers set` makes it due at once.
SETTING_MISSING_SECONDS = 300
# A session that could not be closed is looked at again after this time.
LOOK_AGAIN_SECONDS = 60

# Sessions that have ended or have another user now, and users who are no subscribers or are served again.
_END = """
UPDATE radmeter.disconnect_queue AS request SET
    state = CASE WHEN ended.why IS NULL THEN 'done' ELSE 'dropped' END, ended_at = now(),
    error = coalesce(ended.why, request.error), claimed_by = NULL, claimed_until = NULL
FROM (
    SELECT request.id, CASE
               WHEN session.radacctid IS NULL AND request.act = 'disconnect' AND request.attempts > 0 THEN NULL
               WHEN session.radacctid IS NULL THEN 'the session has ended'
               WHEN session.username IS DISTINCT FROM request.username THEN 'the session has another user name now'
               WHEN account.username IS NOT NULL THEN 'the user is served again'
               ELSE 'the user has no limits any more' END AS why
    FROM radmeter.disconnect_queue AS request
    LEFT JOIN public.radacct AS session
        ON session.radacctid = request.radacctid AND session.acctstoptime IS NULL
    LEFT JOIN radmeter.quota_account AS account ON account.username = request.username
    WHERE request.ended_at IS NULL
      AND (request.claimed_until IS NULL OR request.claimed_until < now())
      AND (session.radacctid IS NULL OR session.username IS DISTINCT FROM request.username
           OR request.requested_by IS NULL
              AND (account.username IS NULL
                   OR request.act = 'disconnect' AND request.reason IN ('over', 'time', 'expired', 'suspended')
                      AND request.state IN ('waiting', 'sent')
                      AND account.status NOT IN ('over', 'expired', 'suspended')))
    FOR UPDATE OF request SKIP LOCKED
) AS ended
WHERE request.id = ended.id AND request.ended_at IS NULL
"""

_LACKING = """
UPDATE radmeter.disconnect_queue AS request SET
    next_try_at = now() + %(pause)s * interval '1 second', error = lacking.why
FROM (
    SELECT request.id, CASE
               WHEN router.id IS NULL THEN 'the router of the session is not known'
               ELSE format('router #%%s "%%s" has no secret: radmeter routers set ''#%%s'' --coa-secret-file FILE '
                           '--vendor VENDOR', router.id, router.name, router.id) END AS why
    FROM radmeter.disconnect_queue AS request
    JOIN public.radacct AS session
        ON session.radacctid = request.radacctid AND session.acctstoptime IS NULL
    LEFT JOIN public.routers AS router ON router.id = session.router_id
    LEFT JOIN radmeter.router_coa AS coa ON coa.router_id = router.id
    WHERE request.ended_at IS NULL AND request.state IN ('waiting', 'sent') AND request.next_try_at <= now()
      AND (request.claimed_until IS NULL OR request.claimed_until < now()) AND coa.secret IS NULL
    FOR UPDATE OF request SKIP LOCKED
) AS lacking
WHERE request.id = lacking.id
"""

# A silent router is asked with one request. Acknowledged requests are only looked at, so they are not bounded.
_CLAIM = """
WITH candidate AS MATERIALIZED (
    SELECT request.id, request.state = 'acknowledged' AS acknowledged, session.router_id,
           state.silent_since IS NOT NULL AS silent, state.next_try_at > now() AS paused,
           row_number() OVER (PARTITION BY session.router_id, request.state = 'acknowledged'
                              ORDER BY request.next_try_at, request.id) AS number
    FROM radmeter.disconnect_queue AS request
    JOIN public.radacct AS session
        ON session.radacctid = request.radacctid AND session.acctstoptime IS NULL
    LEFT JOIN radmeter.router_coa AS coa ON coa.router_id = session.router_id
    LEFT JOIN radmeter.router_coa_state AS state ON state.router_id = session.router_id
    WHERE request.ended_at IS NULL AND request.next_try_at <= now()
      AND (request.claimed_until IS NULL OR request.claimed_until < now())
      AND (coa.secret IS NOT NULL OR request.state = 'acknowledged')
), chosen AS (
    SELECT request.id
    FROM candidate JOIN radmeter.disconnect_queue AS request USING (id)
    WHERE (candidate.acknowledged
           OR paused IS NOT TRUE AND number <= CASE WHEN silent THEN 1 ELSE %(per_router)s END
              AND router_id <> ALL (%(busy)s))
      AND request.ended_at IS NULL AND request.next_try_at <= now()
      AND (request.claimed_until IS NULL OR request.claimed_until < now())
    ORDER BY request.next_try_at, request.id LIMIT %(most)s
    FOR UPDATE OF request SKIP LOCKED
)
UPDATE radmeter.disconnect_queue AS request SET
    claimed_by = %(worker)s, claimed_until = now() + %(seconds)s * interval '1 second',
    attempts = attempts + (request.state <> 'acknowledged')::integer,
    sent_at = CASE WHEN request.state = 'acknowledged' THEN sent_at ELSE now() END,
    state = CASE WHEN request.state = 'acknowledged' THEN 'acknowledged' ELSE 'sent' END
FROM chosen WHERE request.id = chosen.id
RETURNING request.id
"""

_CLAIMED = """
SELECT request.id, request.act, request.reason, request.state, request.attempts, request.identity_set,
       extract(epoch FROM now() - request.answered_at)::float AS answered_seconds,
       session.radacctid, session.router_id, session.acctsessionid,
       radmeter.sent_name(session.radacctid, session.username) AS sent_username,
       host(session.nasipaddress) AS nas_ip, session.callingstationid, session.calledstationid,
       session.nasportid, session.servicetype, host(session.framedipaddress) AS framed_ip,
       coalesce(session.acctinputoctets, 0) AS octets_in, coalesce(session.acctoutputoctets, 0) AS octets_out,
       greatest(extract(epoch FROM now() - coalesce(session.arrived_at, session.acctupdatetime,
                                                    session.acctstarttime)), 0)::float AS silent_seconds,
       coalesce(session.interim_interval, router.interim_interval) AS interim_seconds,
       router.name AS router, router.nas_identifier,
       coalesce(coa.vendor, 'generic') AS vendor, coa.secret, coa.port, coa.message_authenticator, coa.swapped,
       host(coalesce(coa.address, state.packets_from, nullif(session.nasipaddress, '0.0.0.0'))) AS address,
       host(coa.source_address) AS source, state.coa_works,
       quota.speed_up, quota.speed_down, quota.remaining_bytes, quota.remaining_in, quota.remaining_out,
       quota.session_timeout, quota.idle_timeout,
       radmeter.role_in_force(quota.plan_id, quota.used_bytes) AS role,
       CASE WHEN request.act = 'coa' THEN greatest(radmeter.open_sessions(session.username), 1) END AS sessions
FROM radmeter.disconnect_queue AS request
JOIN public.radacct AS session ON session.radacctid = request.radacctid AND session.acctstoptime IS NULL
LEFT JOIN public.routers AS router ON router.id = session.router_id
LEFT JOIN radmeter.router_coa AS coa ON coa.router_id = session.router_id
LEFT JOIN radmeter.router_coa_state AS state ON state.router_id = session.router_id
LEFT JOIN radmeter.quota_state(
        ARRAY(SELECT DISTINCT username FROM radmeter.disconnect_queue WHERE id = ANY (%(ids)s) AND act = 'coa'),
        now()) AS quota
    ON quota.username = request.username AND request.act = 'coa'
WHERE request.id = ANY (%(ids)s)
"""

_PROFILES = "SELECT * FROM radmeter.vendor_profiles()"
_ATTRIBUTES = """
SELECT vendor, purpose, attribute, gigawords_attribute, unit FROM radmeter.vendor_attributes() WHERE in_coa
"""

# A CoA-Request that becomes a Disconnect-Request ends if there is one for the session already.
_RECORD = """
WITH given AS (
    SELECT * FROM json_to_recordset(%(results)s) AS result (
        id bigint, state text, act text, identity_set smallint, error text, error_cause integer, seconds float,
        answered boolean)
), decided AS (
    -- radmeter.apply_quotas has made it due again: other limits came while the request was under way.
    SELECT given.*, request.state = 'waiting' AS renewed, request.act <> given.act AND EXISTS (
               SELECT FROM radmeter.disconnect_queue AS other
               WHERE other.radacctid = request.radacctid AND other.act = given.act AND other.ended_at IS NULL) AS twice
    FROM given JOIN radmeter.disconnect_queue AS request USING (id)
    WHERE request.claimed_by = %(worker)s AND request.ended_at IS NULL
)
UPDATE radmeter.disconnect_queue AS request SET
    state = CASE WHEN renewed THEN 'waiting' WHEN twice THEN 'dropped' ELSE decided.state END,
    act = CASE WHEN renewed OR twice THEN request.act ELSE decided.act END,
    identity_set = decided.identity_set,
    error = decided.error,
    error_cause = CASE WHEN decided.answered THEN decided.error_cause ELSE request.error_cause END,
    next_try_at = CASE WHEN renewed THEN request.next_try_at
                       ELSE now() + coalesce(decided.seconds, 0) * interval '1 second' END,
    answered_at = CASE WHEN decided.answered THEN now() ELSE request.answered_at END,
    ended_at = CASE WHEN renewed THEN NULL WHEN twice OR decided.state IN ('done', 'failed', 'dropped') THEN now() END,
    claimed_by = NULL, claimed_until = NULL
FROM decided WHERE request.id = decided.id
"""

_ROUTERS = """
INSERT INTO radmeter.router_coa_state AS known
    (router_id, coa_works, silent_since, failures, next_try_at, last_answer_at, last_error)
SELECT router_id, coa_works, CASE WHEN NOT answered THEN now() END, CASE WHEN answered THEN 0 ELSE 1 END,
       CASE WHEN NOT answered THEN now() + %(first)s * interval '1 second' END, CASE WHEN answered THEN now() END, error
FROM json_to_recordset(%(routers)s) AS given (router_id bigint, answered boolean, coa_works boolean, error text)
ORDER BY router_id
ON CONFLICT (router_id) DO UPDATE SET
    coa_works = coalesce(excluded.coa_works, known.coa_works),
    last_answer_at = coalesce(excluded.last_answer_at, known.last_answer_at),
    last_error = excluded.last_error,
    silent_since = CASE WHEN excluded.failures = 0 THEN NULL ELSE coalesce(known.silent_since, now()) END,
    -- Many requests under way that go unanswered together are one failure.
    failures = CASE WHEN excluded.failures = 0 THEN 0
                    ELSE known.failures + (known.next_try_at IS NULL OR known.next_try_at <= now())::integer END,
    next_try_at = CASE WHEN excluded.failures = 0 THEN NULL
                       WHEN known.next_try_at > now() THEN known.next_try_at
                       ELSE now() + least(%(first)s * 2 ^ least(known.failures, 20), %(longest)s)
                           * interval '1 second' END
"""


@dataclass(frozen=True)
class Claimed:
    """A request that this worker has claimed, with all that is needed to send it."""

    id: int
    act: Act
    reason: str
    acknowledged: bool
    router_id: int
    router: str
    address: str | None
    port: int
    source: str | None
    secret: str | None = field(repr=False)
    message_authenticator: bool
    swapped: bool
    coa_works: bool | None
    session: Mapping[str, str | None]
    profile: Profile
    vendor_attributes: Sequence[VendorAttribute]
    limits: Limits
    asked: Asked
    radacctid: int


@dataclass(frozen=True)
class Result:
    """What became of a request: what follows, and what it showed about the router.

    `answered`: the router answered. None: it was not asked. `coa_works`: what was learned; None: nothing.
    """

    request: Claimed
    step: Step
    answered: bool | None
    error_cause: int | None = None
    coa_works: bool | None = None


def vendors(
    connection: psycopg.Connection[Any],
) -> tuple[dict[str, Profile], dict[str, list[VendorAttribute]]]:
    """Return the profiles of the vendors, and the attributes that their routers take in a CoA-Request."""
    with explained_errors("radmeter_owner"), connection.cursor(row_factory=dict_row) as cursor:
        profiles = {row["vendor"]: profile_of(row) for row in cursor.execute(_PROFILES).fetchall()}
        attributes: dict[str, list[VendorAttribute]] = {vendor: [] for vendor in profiles}
        for row in cursor.execute(_ATTRIBUTES).fetchall():
            attributes.setdefault(row.pop("vendor"), []).append(VendorAttribute(**row))
    return profiles, attributes


def profile_of(row: Mapping[str, Any]) -> Profile:
    """Return the profile in a row of radmeter.vendor_profiles()."""
    return Profile(
        vendor=row["vendor"],
        port=row["coa_port"],
        identity=tuple(tuple(names) for names in row["identity"]),
        takes_coa=row["takes_coa"],
        takes_disconnect=row["takes_disconnect"],
        coa_replaces=row["coa_replaces"],
        coa_standard=tuple(row["coa_standard"]),
        message_authenticator=row["message_authenticator"],
        event_timestamp=row["event_timestamp"],
        extra=row["extra"],
    )


def claim(
    connection: psycopg.Connection[Any],
    worker: uuid.UUID,
    *,
    most: int = CLAIM_MOST,
    busy: Sequence[int] = (),
    per_router: int = CLAIM_PER_ROUTER,
    seconds: float = CLAIM_SECONDS,
) -> list[Claimed]:
    """Claim the requests that are due, at most `most`, and none of the routers `busy`. End those that have no purpose.

    Requests whose router has no secret stay, with an error that names the command to run.
    """
    profiles, attributes = vendors(connection)
    with (
        explained_errors("radmeter_owner"),
        connection.transaction(),
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        cursor.execute(_END)
        cursor.execute(_LACKING, {"pause": SETTING_MISSING_SECONDS})
        ids = [
            row["id"]
            for row in cursor.execute(
                _CLAIM,
                {
                    "worker": worker,
                    "most": most,
                    "busy": list(busy),
                    "per_router": per_router,
                    "seconds": seconds,
                },
            ).fetchall()
        ]
        rows = cursor.execute(_CLAIMED, {"ids": ids}).fetchall() if ids else []
    return [_claimed(row, profiles, attributes) for row in rows]


def _claimed(
    row: Mapping[str, Any], profiles: Mapping[str, Profile], attributes: Mapping[str, list[VendorAttribute]]
) -> Claimed:
    profile = profiles.get(row["vendor"], profiles["generic"])
    session = session_attributes(row)
    return Claimed(
        id=row["id"],
        act=row["act"],
        reason=row["reason"],
        acknowledged=row["state"] == "acknowledged",
        router_id=row["router_id"],
        router=row["router"],
        address=row["address"],
        port=row["port"] or profile.port,
        source=row["source"],
        secret=row["secret"],
        message_authenticator=row["message_authenticator"] is not False,
        swapped=bool(row["swapped"]),
        coa_works=row["coa_works"],
        session=session,
        profile=profile,
        vendor_attributes=attributes.get(profile.vendor, []),
        limits=_limits(row),
        asked=Asked(
            act=row["act"],
            attempts=row["attempts"],
            identity_set=row["identity_set"],
            identity_sets=identity_sets(session, profile),
            silent_seconds=row["silent_seconds"] or 0.0,
            interim_seconds=row["interim_seconds"],
            answered_seconds=row["answered_seconds"],
            takes_disconnect=profile.takes_disconnect,
        ),
        radacctid=row["radacctid"],
    )


def session_attributes(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the attributes that can name a session, as its router sent them."""
    nas_ip = row["nas_ip"] if row["nas_ip"] != "0.0.0.0" else None  # noqa: S104  # the router sent none
    is_ipv6 = nas_ip is not None and ":" in nas_ip
    framed_ip = row["framed_ip"]
    return {
        "User-Name": row["sent_username"],
        "Acct-Session-Id": row["acctsessionid"],
        "NAS-IP-Address": None if is_ipv6 else nas_ip,
        "NAS-IPv6-Address": nas_ip if is_ipv6 else None,
        "NAS-Identifier": row["nas_identifier"],
        "Framed-IP-Address": framed_ip if framed_ip and ":" not in framed_ip else None,
        "Calling-Station-Id": row["callingstationid"],
        "Called-Station-Id": row["calledstationid"],
        "NAS-Port-Id": row["nasportid"],
        "Service-Type": row["servicetype"],
    }


def _limits(row: Mapping[str, Any]) -> Limits:
    """Return a session's limits, counted from its start. The open sessions share what the user has left."""
    sessions = row["sessions"] or 1

    def up_to(used: int, remaining: int | None) -> int | None:
        return None if remaining is None else used + remaining // sessions

    return Limits(
        speed_up=row["speed_up"],
        speed_down=row["speed_down"],
        octets_total=up_to(row["octets_in"] + row["octets_out"], row["remaining_bytes"]),
        octets_in=up_to(row["octets_in"], row["remaining_in"]),
        octets_out=up_to(row["octets_out"], row["remaining_out"]),
        session_timeout=row["session_timeout"],
        idle_timeout=row["idle_timeout"],
        role=row["role"],
    )


def record(connection: psycopg.Connection[Any], worker: uuid.UUID, results: Sequence[Result]) -> None:
    """Record what became of requests, and what their routers showed. Sessions that are gone are closed."""
    if not results:
        return
    routers: dict[int, dict[str, Any]] = {}
    for result in results:
        if result.answered is None:
            continue
        known = routers.setdefault(
            result.request.router_id,
            {
                "router_id": result.request.router_id,
                "answered": False,
                "coa_works": None,
                "error": result.step.error,
            },
        )
        # One answer shows that a router is there.
        known["answered"] |= result.answered
        if result.coa_works is not None:
            known["coa_works"] = result.coa_works
        if result.answered:
            known["error"] = result.step.error
    gone = [each for each in results if each.step.close_after is not None]
    with explained_errors("radmeter_owner"), connection.transaction():
        if gone:
            row = connection.execute(
                "SELECT radmeter.close_gone(%s::bigint[], %s::float[])",
                ([each.request.radacctid for each in gone], [each.step.close_after for each in gone]),
            ).fetchone()
            results = [_if_closed(each, row[0] if row else ()) for each in results]
        connection.execute(_RECORD, {"worker": worker, "results": _json([_result(each) for each in results])})
        connection.execute(
            _ROUTERS,
            {
                "routers": _json(list(routers.values())),
                "first": FIRST_SILENCE_SECONDS,
                "longest": LONGEST_SILENCE_SECONDS,
            },
        )


def _if_closed(result: Result, closed: Sequence[int]) -> Result:
    """Return the result, or that the session is looked at again if it was to be closed and was not.

    A shipper has a backlog in which later packets may be, a packet came just now, or another writer held the row.
    """
    if result.step.close_after is None or result.request.radacctid in closed:
        return result
    state: Literal["waiting", "acknowledged"] = "acknowledged" if result.request.acknowledged else "waiting"
    step = replace(result.step, state=state, error=None, seconds=LOOK_AGAIN_SECONDS)
    return replace(result, step=step)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _result(each: Result) -> dict[str, Any]:
    step = each.step
    return {
        "id": each.request.id,
        "state": step.state,
        "act": step.act,
        "identity_set": step.identity_set,
        "error": step.error,
        "error_cause": each.error_cause,
        "seconds": step.seconds,
        "answered": bool(each.answered),
    }


def release(connection: psycopg.Connection[Any], worker: uuid.UUID) -> None:
    """End this worker's claims, so that another one can claim the requests at once."""
    with explained_errors("radmeter_owner"):
        connection.execute(
            """UPDATE radmeter.disconnect_queue SET claimed_by = NULL, claimed_until = NULL
               WHERE claimed_by = %s AND ended_at IS NULL""",
            (worker,),
        )
