"""Claims requests of radmeter.disconnect_queue, and records what became of them.

A claim is a lease: `claimed_by` and `claimed_until` of the row. Another worker takes a row only when its lease is over,
so two leaders never send the same request at once. If a worker dies between sending and recording, the request is sent
again. That is harmless: the router ends the session or says that it has none.
"""

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
import psycopg
from psycopg.rows import dict_row

from radmeter.database.connection import explained_errors
from radmeter.errors import StoreUnavailable
from radmeter.quotas.coa import Act, Profile, identity_sets
from radmeter.quotas.following import Asked, Step
from radmeter.quotas.limits import Limits, VendorAttribute
from radmeter.quotas.sending import PER_ROUTER

log = logging.getLogger(__name__)

# A claim lasts longer than all datagrams of a request and of the Disconnect-Request that may follow it.
CLAIM_SECONDS = 60
CLAIM_MOST = 500
FIRST_SILENCE_SECONDS = 15
LONGEST_SILENCE_SECONDS = 3600
# A request that lacks a setting is looked at this often. `routers set` makes it due at once.
SETTING_MISSING_SECONDS = 300
# A session that could not be closed is looked at again after this time.
LOOK_AGAIN_SECONDS = 60
SESSION_ID = "Acct-Session-Id"
# The reason of a request that changes limits of octets and of time, but no speed.
LIMITS = "limits"

# How many requests are looked at for a purpose at once. Those that are due first come first, so each has its turn.
LOOK_AT_MOST = 2000

_UNCLAIMED = "request.ended_at IS NULL AND (request.claimed_until IS NULL OR request.claimed_until < now())"

# The session has ended or has another user now, or the user is served again.
_POINTLESS = """(
    session.radacctid IS NULL OR session.username IS DISTINCT FROM request.username
    OR request.requested_by IS NULL AND CASE
           WHEN request.act = 'disconnect' AND request.reason IN ('over', 'time', 'expired', 'suspended')
           THEN request.state IN ('waiting', 'sent')
                AND coalesce(account.status, '') NOT IN ('over', 'expired', 'suspended')
           ELSE request.reason = 'throttled' AND account.username IS NULL END)
"""

_END = f"""
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
    WHERE request.id = ANY (ARRAY(
            SELECT id FROM radmeter.disconnect_queue WHERE ended_at IS NULL
            ORDER BY next_try_at LIMIT %(look_at_most)s))
      AND {_UNCLAIMED} AND {_POINTLESS}
    FOR UPDATE OF request SKIP LOCKED
) AS ended
WHERE request.id = ended.id AND request.ended_at IS NULL
"""  # noqa: S608  # of constants

# Requests that cannot be sent now: the router has no secret, or is silent. They are not looked at again until then.
_LATER = f"""
UPDATE radmeter.disconnect_queue AS request SET
    next_try_at = CASE WHEN later.why IS NULL THEN later.paused_until
                       ELSE now() + %(pause)s * interval '1 second' END,
    error = coalesce(later.why, request.error)
FROM (
    SELECT request.id, state.next_try_at AS paused_until, CASE
               WHEN router.id IS NULL THEN 'the router of the session is not known'
               WHEN coa.secret IS NULL
               THEN format('router #%%s "%%s" has no secret: radmeter routers set ''#%%s'' --coa-secret-file FILE '
                           '--vendor VENDOR', router.id, router.name, router.id) END AS why
    FROM radmeter.disconnect_queue AS request
    JOIN public.radacct AS session
        ON session.radacctid = request.radacctid AND session.acctstoptime IS NULL
    LEFT JOIN public.routers AS router ON router.id = session.router_id
    LEFT JOIN radmeter.router_coa AS coa ON coa.router_id = router.id
    LEFT JOIN radmeter.router_coa_state AS state ON state.router_id = router.id
    WHERE request.id = ANY (ARRAY(
            SELECT id FROM radmeter.disconnect_queue
            WHERE ended_at IS NULL AND next_try_at <= now() AND state IN ('waiting', 'sent')
            ORDER BY next_try_at LIMIT %(look_at_most)s))
      AND {_UNCLAIMED} AND request.state IN ('waiting', 'sent')
      AND (coa.secret IS NULL OR state.next_try_at > now())
    FOR UPDATE OF request SKIP LOCKED
) AS later
WHERE request.id = later.id
"""  # noqa: S608  # of constants

# A silent router is asked with one request. Acknowledged requests are only looked at, so they are not bounded.
_CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT request.* FROM radmeter.disconnect_queue AS request
    WHERE {_UNCLAIMED} AND request.next_try_at <= now()
), candidate AS MATERIALIZED (
    SELECT request.id, request.state = 'acknowledged' AS acknowledged, session.router_id,
           state.silent_since IS NOT NULL AS silent, state.next_try_at > now() AS paused,
           row_number() OVER (PARTITION BY session.router_id, request.state = 'acknowledged'
                              ORDER BY request.next_try_at, request.id) AS number
    FROM due AS request CROSS JOIN LATERAL (
        -- OFFSET 0: by the index, however many sessions are open.
        SELECT each.radacctid, each.username, each.router_id FROM public.radacct AS each
        WHERE each.radacctid = request.radacctid AND each.acctstoptime IS NULL OFFSET 0) AS session
    LEFT JOIN radmeter.router_coa AS coa ON coa.router_id = session.router_id
    LEFT JOIN radmeter.router_coa_state AS state ON state.router_id = session.router_id
    LEFT JOIN radmeter.quota_account AS account ON account.username = request.username
    WHERE NOT {_POINTLESS}
      AND (coa.secret IS NOT NULL OR request.state = 'acknowledged')
), chosen AS (
    SELECT request.id
    FROM candidate JOIN radmeter.disconnect_queue AS request USING (id)
    WHERE (candidate.acknowledged
           OR paused IS NOT TRUE
              AND CASE WHEN silent THEN number = 1 AND router_id <> ALL (%(trying)s)
                       ELSE number <= %(per_router)s AND router_id <> ALL (%(busy)s) END)
      AND {_UNCLAIMED} AND request.next_try_at <= now()
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
"""  # noqa: S608  # of constants

_CLAIMED = """
SELECT request.id, request.act, request.reason, request.state, request.attempts, request.naks, request.acks,
       request.identity_set,
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
       coalesce(coa.vendor, 'generic') AS vendor, coa.secret, coa.port, coa.message_authenticator,
       coa.signed_answers, coa.swapped,
       host(radmeter.coa_address(session.router_id)) AS address,
       host(coa.source_address) AS source, coalesce(state.failures, 0) AS failures,
       CASE WHEN state.coa_works OR state.learned_at > now() - interval '1 day' THEN state.coa_works END AS coa_works,
       quota.speed_up, quota.speed_down, quota.remaining_in, quota.remaining_out,
       least(quota.remaining_bytes, (
           SELECT min(tier.from_bytes) FROM public.plan_tiers AS tier
           WHERE tier.plan_id = quota.plan_id AND tier.from_bytes > quota.used_bytes
             AND tier.speed_up IS NULL AND tier.speed_down IS NULL) - quota.used_bytes) AS remaining_bytes,
       quota.session_timeout, quota.idle_timeout, quota.remaining_seconds,
       radmeter.role_in_force(quota.plan_id, quota.used_bytes) AS role,
       ceil(extract(epoch FROM quota.expires_at - now()))::bigint AS valid_seconds,
       greatest(ceil(extract(epoch FROM now() - session.acctstarttime)), session.acctsessiontime, 0)::bigint
           AS online_seconds,
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

_PUT_OFF = """
UPDATE radmeter.disconnect_queue SET
    state = CASE WHEN state = 'acknowledged' THEN state ELSE 'waiting' END,
    attempts = attempts - (state <> 'acknowledged')::integer, claimed_by = NULL, claimed_until = NULL,
    next_try_at = now() + %(pause)s * interval '1 second', error = %(why)s
WHERE id = %(id)s AND ended_at IS NULL
"""

# Of these sessions the device or its address has another session by now.
_SHARED = """
SELECT asked.radacctid
FROM public.radacct AS asked JOIN public.radacct AS other
    ON other.callingstationid = asked.callingstationid AND other.radacctid <> asked.radacctid
WHERE asked.radacctid = ANY (%(sessions)s) AND asked.acctstoptime IS NULL AND other.acctstoptime IS NULL
UNION
SELECT asked.radacctid
FROM public.radacct AS asked JOIN public.radacct AS other
    ON other.router_id = asked.router_id AND other.framedipaddress = asked.framedipaddress
    AND other.radacctid <> asked.radacctid
WHERE asked.radacctid = ANY (%(sessions)s) AND asked.acctstoptime IS NULL AND other.acctstoptime IS NULL
"""

_PROFILES = "SELECT * FROM radmeter.vendor_profiles()"
_ATTRIBUTES = """
SELECT vendor, purpose, attribute, gigawords_attribute, unit FROM radmeter.vendor_attributes() WHERE in_coa
"""

# A CoA-Request that becomes a Disconnect-Request ends if there is one for the session already.
_RECORD = """
WITH given AS (
    SELECT * FROM json_to_recordset(%(results)s) AS result (
        id bigint, state text, act text, identity_set smallint, error text, error_cause bigint, seconds float,
        answered boolean, nak boolean, ack boolean)
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
    naks = CASE WHEN renewed OR request.act = decided.act THEN request.naks + (decided.nak AND NOT renewed)::integer
                ELSE 0 END,
    acks = request.acks + (decided.ack AND NOT renewed)::integer,
    error = decided.error,
    error_cause = CASE WHEN decided.answered THEN decided.error_cause ELSE request.error_cause END,
    next_try_at = CASE WHEN renewed THEN request.next_try_at
                       ELSE now() + coalesce(decided.seconds, 0) * interval '1 second' END,
    answered_at = CASE WHEN decided.answered THEN now() ELSE request.answered_at END,
    ended_at = CASE WHEN renewed THEN NULL WHEN twice OR decided.state IN ('done', 'failed', 'dropped') THEN now() END,
    claimed_by = NULL, claimed_until = NULL
FROM decided WHERE request.id = decided.id
"""

# radmeter.apply_quotas makes a request again for a session that did not get the user's speeds.
_NOTE_FAILED = """
INSERT INTO radmeter.quota_change (username)
SELECT DISTINCT username FROM radmeter.disconnect_queue
WHERE id = ANY (%(failed)s) AND state = 'failed' AND requested_by IS NULL
  AND reason IN ('throttled', 'restored', 'speeds')
"""

# What waited for a silent router is due when it answers. What has been answered has a pause of its own.
_AWAKE = """
UPDATE radmeter.disconnect_queue AS request SET next_try_at = now()
FROM public.radacct AS session JOIN radmeter.router_coa_state AS state USING (router_id)
WHERE state.router_id = ANY (%(answered)s) AND state.silent_since IS NOT NULL
  AND session.radacctid = request.radacctid AND session.acctstoptime IS NULL
  AND request.ended_at IS NULL AND request.state IN ('waiting', 'sent') AND request.next_try_at > now()
  AND request.naks = 0 AND request.acks = 0
"""

_ROUTERS = """
INSERT INTO radmeter.router_coa_state AS known
    (router_id, coa_works, learned_at, silent_since, failures, next_try_at, last_answer_at, last_error)
SELECT router_id, coa_works, CASE WHEN coa_works IS NOT NULL THEN now() END,
       CASE WHEN NOT answered THEN now() END, CASE WHEN answered THEN 0 ELSE 1 END,
       CASE WHEN NOT answered THEN now() + %(first)s * interval '1 second' END, CASE WHEN answered THEN now() END, error
FROM json_to_recordset(%(routers)s) AS given (router_id bigint, answered boolean, coa_works boolean, error text)
ORDER BY router_id
ON CONFLICT (router_id) DO UPDATE SET
    coa_works = coalesce(excluded.coa_works, known.coa_works),
    learned_at = coalesce(excluded.learned_at, known.learned_at),
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
    signed_answers: bool
    swapped: bool
    coa_works: bool | None
    failures: int
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
    trying: Sequence[int] = (),
    per_router: int = PER_ROUTER,
    seconds: float = CLAIM_SECONDS,
) -> list[Claimed]:
    """Claim the requests that are due, at most `most`. End those that have no purpose.

    Requests whose router has no secret stay, with an error that names the command to run.

    Parameters
    ----------
    busy
        Routers that get no further request now.
    trying
        Routers with a request under way. One of them that is silent gets no other.
    """
    profiles, attributes = vendors(connection)
    with (
        explained_errors("radmeter_owner"),
        connection.transaction(),
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        cursor.execute(_END, {"look_at_most": LOOK_AT_MOST})
        cursor.execute(_LATER, {"pause": SETTING_MISSING_SECONDS, "look_at_most": LOOK_AT_MOST})
        ids = [
            row["id"]
            for row in cursor.execute(
                _CLAIM,
                {
                    "worker": worker,
                    "most": most,
                    "busy": list(busy),
                    "trying": list(trying),
                    "per_router": per_router,
                    "seconds": seconds,
                },
            ).fetchall()
        ]
        rows = _described(connection, cursor, ids) if ids else []
        # Only after an answer another set of attributes can be next.
        answered = [row["radacctid"] for row in rows if row["naks"] or row["acks"]]
        shared = cursor.execute(_SHARED, {"sessions": answered}).fetchall() if answered else []
    shared_sessions = {row["radacctid"] for row in shared}
    return [_claimed(row, profiles, attributes, shared_sessions) for row in rows]


def _described(
    connection: psycopg.Connection[Any], cursor: psycopg.Cursor[dict[str, Any]], ids: list[int]
) -> list[dict[str, Any]]:
    """Return all that is needed to send claimed requests. One whose user is an error waits; the others are sent."""
    try:
        with connection.transaction():
            return cursor.execute(_CLAIMED, {"ids": ids}).fetchall()
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.InternalError) as error:
        if len(ids) == 1:
            why = f"the user's limits cannot be computed: {error.diag.message_primary or error}"
            cursor.execute(_PUT_OFF, {"id": ids[0], "pause": SETTING_MISSING_SECONDS, "why": why})
            return []
    half = len(ids) // 2
    return _described(connection, cursor, ids[:half]) + _described(connection, cursor, ids[half:])


def _claimed(
    row: Mapping[str, Any],
    profiles: Mapping[str, Profile],
    attributes: Mapping[str, list[VendorAttribute]],
    shared: Collection[int],
) -> Claimed:
    profile = profiles.get(row["vendor"], profiles["generic"])
    if row["radacctid"] in shared:
        # Without its id, the router would take another session of the device for it.
        own = tuple(names for names in profile.identity if SESSION_ID in names)
        profile = replace(profile, identity=own or profile.identity[:1])
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
        signed_answers=bool(row["signed_answers"]),
        swapped=bool(row["swapped"]),
        coa_works=row["coa_works"],
        failures=row["failures"],
        session=session,
        profile=profile,
        vendor_attributes=attributes.get(profile.vendor, []),
        limits=_limits(row),
        asked=Asked(
            act=row["act"],
            attempts=row["attempts"],
            naks=row["naks"],
            acks=row["acks"],
            identity_set=min(row["identity_set"], len(profile.identity) - 1),
            identity_sets=identity_sets(session, profile),
            silent_seconds=row["silent_seconds"] or 0.0,
            interim_seconds=row["interim_seconds"],
            answered_seconds=row["answered_seconds"],
            next_has_id=SESSION_ID
            in profile.identity[min(row["identity_set"] + 1, len(profile.identity) - 1)],
            # Nobody is disconnected for the sake of a limit that the next login has anyhow.
            takes_disconnect=profile.takes_disconnect and row["reason"] != LIMITS,
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
        # Never 0: that is no limit.
        return None if remaining is None else max(used + remaining // sessions, 1)

    online = row["online_seconds"] or 0
    valid = None if row["valid_seconds"] is None else max(online + row["valid_seconds"], 1)
    seconds = (row["session_timeout"], up_to(online, row["remaining_seconds"]), valid)
    return Limits(
        speed_up=row["speed_up"],
        speed_down=row["speed_down"],
        octets_total=up_to(row["octets_in"] + row["octets_out"], row["remaining_bytes"]),
        octets_in=up_to(row["octets_in"], row["remaining_in"]),
        octets_out=up_to(row["octets_out"], row["remaining_out"]),
        session_timeout=min((each for each in seconds if each is not None), default=None),
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
        failed = [each.request.id for each in results if each.step.state == "failed"]
        if failed:
            connection.execute(_NOTE_FAILED, {"failed": failed})
        awake = [router for router, known in routers.items() if known["answered"]]
        if awake:
            connection.execute(_AWAKE, {"answered": awake})
        connection.execute(
            _ROUTERS,
            {
                "routers": _json(list(routers.values())),
                "first": FIRST_SILENCE_SECONDS,
                "longest": LONGEST_SILENCE_SECONDS,
            },
        )


def record_each(connection: psycopg.Connection[Any], worker: uuid.UUID, results: Sequence[Result]) -> None:
    """Record what became of requests. One result that is an error keeps no other from being recorded.

    Its request is put off, with the error. If the database is away, nothing is put off, and that is raised.
    """
    try:
        record(connection, worker, results)
    except StoreUnavailable:
        raise
    except Exception as error:
        if len(results) > 1:
            half = len(results) // 2
            record_each(connection, worker, results[:half])
            record_each(connection, worker, results[half:])
            return
        (result,) = results
        log.warning(
            "what became of a request to router %r cannot be recorded: %s", result.request.router, error
        )
        why = f"what became of it cannot be recorded: {type(error).__name__}"
        with explained_errors("radmeter_owner"):
            connection.execute(
                _PUT_OFF, {"id": result.request.id, "pause": SETTING_MISSING_SECONDS, "why": why}
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
        "nak": bool(each.answered) and step.state in ("waiting", "failed"),
        "ack": bool(each.answered) and step.state == "acknowledged",
    }


def release(connection: psycopg.Connection[Any], worker: uuid.UUID) -> None:
    """End this worker's claims, so that another one can claim the requests at once."""
    with explained_errors("radmeter_owner"):
        connection.execute(
            """UPDATE radmeter.disconnect_queue SET claimed_by = NULL, claimed_until = NULL
               WHERE claimed_by = %s AND ended_at IS NULL""",
            (worker,),
        )
