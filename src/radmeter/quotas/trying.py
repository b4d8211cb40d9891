"""Sends a router requests for a session that does not exist, to see whether it takes them."""

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from radmeter.database.connection import explained_errors
from radmeter.errors import ConfigurationError
from radmeter.quotas import coa
from radmeter.quotas.coa import COA, DISCONNECT, Act, Answer, Profile
from radmeter.quotas.queue import profile_of
from radmeter.quotas.sending import Outcome, Sender

# RFC 5737: nobody has this address.
NOBODY = "192.0.2.1"
NO_SESSION = 503

_TARGET = """
SELECT router.name, host(radmeter.coa_address(router.id)) AS address,
       coa.port, coa.secret, host(coa.source_address) AS source, coa.message_authenticator, coa.signed_answers,
       router.nas_identifier,
       host(session.nasipaddress) AS nas_ip, profile.*
FROM public.routers AS router
LEFT JOIN radmeter.router_coa AS coa ON coa.router_id = router.id
LEFT JOIN LATERAL (
    SELECT nullif(nasipaddress, '0.0.0.0') AS nasipaddress FROM public.radacct
    WHERE router_id = router.id AND acctstoptime IS NULL LIMIT 1) AS session ON true
JOIN radmeter.vendor_profiles() AS profile ON profile.vendor = coalesce(coa.vendor, 'generic')
WHERE router.id = %s
"""


class Tried(NamedTuple):
    """What came of a request: whether it works, the Error-Cause, and what that means."""

    request: str
    works: bool
    error_cause: int | None
    meaning: str


@dataclass(frozen=True)
class Target:
    """A router, and how requests reach it. The secret is encrypted."""

    vendor: str
    address: str
    port: int
    source: str | None
    message_authenticator: bool
    signed_answers: bool
    nas_ip: str | None
    nas_identifier: str | None
    profile: Profile
    secret: str = field(repr=False)


def target(connection: psycopg.Connection[Any], router_id: int) -> Target:
    """Return how requests reach a router.

    Raises
    ------
    ConfigurationError
        It has no secret, or no address is known.
    """
    with explained_errors("radmeter_noc"), connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_TARGET, (router_id,)).fetchone()
    which = f"router #{router_id}"
    if row is None or row["secret"] is None:
        raise ConfigurationError(
            f"{which} has no secret: radmeter routers set '#{router_id}' --coa-secret-file FILE --vendor VENDOR"
        )
    if row["address"] is None:
        raise ConfigurationError(
            f"{which} has no address and no open session: radmeter routers set '#{router_id}' --coa-address ADDRESS"
        )
    profile = profile_of(row)
    return Target(
        vendor=profile.vendor,
        address=row["address"],
        port=row["port"] or profile.port,
        source=row["source"],
        message_authenticator=row["message_authenticator"] is not False,
        signed_answers=bool(row["signed_answers"]),
        nas_ip=row["nas_ip"],
        nas_identifier=row["nas_identifier"],
        profile=profile,
        secret=row["secret"],
    )


def try_router(router: Target, secret: bytes) -> list[Tried]:
    """Send a Disconnect-Request, and a CoA-Request if the vendor takes it; return what came of each."""
    acts: list[Act] = [DISCONNECT, COA] if router.profile.takes_coa else [DISCONNECT]

    async def run() -> list[Outcome]:
        sender = Sender()
        try:
            return [await _send(sender, router, secret, act) for act in acts]
        finally:
            sender.close()

    outcomes = asyncio.run(run())
    return [explained(act, outcome, router) for act, outcome in zip(acts, outcomes, strict=True)]


async def _send(sender: Sender, router: Target, secret: bytes, act: Act) -> Outcome:
    name = f"radmeter-test-{uuid.uuid4().hex[:12]}"
    ipv6 = router.nas_ip is not None and ":" in router.nas_ip
    session = {
        "User-Name": name,
        "Acct-Session-Id": name,
        "NAS-IP-Address": None if ipv6 else router.nas_ip,
        "NAS-IPv6-Address": router.nas_ip if ipv6 else None,
        "NAS-Identifier": router.nas_identifier,
        "Framed-IP-Address": NOBODY,
        "Calling-Station-Id": "02-00-00-00-00-00",
    }
    limits = [("Session-Timeout", 3600)] if "Session-Timeout" in router.profile.coa_standard else []
    return await sender.send(
        lambda identifier: coa.make(
            act,
            session,
            router.profile,
            limits,
            identifier=identifier,
            secret=secret,
            at=int(time.time()),
            message_authenticator=router.message_authenticator,
            signed_answers=router.signed_answers,
        ),
        (router.address, router.port),
        source=router.source,
    )


def explained(act: Act, outcome: Outcome, router: Target) -> Tried:
    """Return what an outcome means."""
    request = "Disconnect-Request" if act == DISCONNECT else "CoA-Request"
    if outcome.answer is None:
        return Tried(request, False, None, _silence(outcome, router))
    works, meaning = _meaning(act, outcome.answer)
    return Tried(request, works, outcome.answer.error_cause, meaning)


def _silence(outcome: Outcome, router: Target) -> str:
    if outcome.error is not None:
        return f"{outcome.error}: is --coa-source an address of this machine?"
    if outcome.unproven:
        if router.signed_answers:
            return (
                "something answers, but with another secret (--coa-secret-file), or without a Message-Authenticator "
                "(--no-coa-signed-answers lets such answers count)"
            )
        return "something answers, but with another secret: give the router's with --coa-secret-file"
    return (
        f"no answer from {router.address} port {router.port}. A router is silent if its secret is another one, if it "
        "takes no requests from this machine's address (--coa-source), or if its clock is more than 5 minutes wrong. "
        "Else a firewall is between, or requests are switched off: docs/operators/disconnects.md has what to switch on"
    )


def _meaning(act: Act, answer: Answer) -> tuple[bool, str]:
    if answer.acknowledged:
        return True, (
            "the router acknowledged a request for a session that does not exist: it takes requests, but its ACK says "
            "nothing. Is this the router itself, and not a proxy or controller?"
        )
    cause = coa.cause_text(answer.error_cause)
    if answer.error_cause in (NO_SESSION, None):
        return True, f"works: the router has no such session ({cause})"
    if answer.error_cause in (401, 402, 403, 508):
        return True, f"the router takes requests, but wants other attributes ({cause}): is --vendor right?"
    if answer.error_cause in (405, 406, 501):
        what = (
            "Disconnect-Requests"
            if act == DISCONNECT
            else "CoA-Requests: a Disconnect-Request is sent instead"
        )
        return False, f"the router takes no {what} ({cause})"
    return False, f"the router refused: {cause}"
