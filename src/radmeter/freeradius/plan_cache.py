"""Asks FreeRADIUS about its cache of plans: sites-available/radmeter_cache answers on loopback.

rlm_cache of FreeRADIUS 3.2 counts only how often an entry was found. So the policy counts by entries of another cache,
and the site calls all of these for each status. The calls of the site itself are taken off here.
"""

import os
import shlex
import socket
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AccessAccept, AccessRequest, AuthPacket

from radmeter.errors import ConfigurationError, RadmeterError, os_reason
from radmeter.freeradius.install_logins import SITE, port_and_secret

HOST = "127.0.0.1"
ANSWER_SECONDS = 3.0
TRIES = 3
REPLY_MESSAGE = 18


@dataclass(frozen=True)
class Place:
    """Where FreeRADIUS answers for its cache."""

    port: int
    secret: str


def find(raddb: Path | None, state: Path | None = None) -> Place:
    """Return the place that the environment names, else that of `radmeter up` in `state`, else of a configuration.

    Raises
    ------
    ConfigurationError
        Neither names one, or the configuration cannot be read.
    """
    port, secret = os.environ.get("RADMETER_CACHE_PORT"), os.environ.get("RADMETER_CACHE_SECRET")
    if port and port.isdecimal() and secret:
        return Place(int(port), secret)
    if state is not None and (tried_out := _of_try_out(state / "radmeter.env")):
        return tried_out
    try:
        found = port_and_secret(raddb / SITE) if raddb is not None else None
    except OSError as error:
        raise ConfigurationError(
            f"FreeRADIUS's configuration: {os_reason(error)} (run this command as root)"
        ) from error
    if found is None:
        raise ConfigurationError(
            f"{SITE} is in no configuration of FreeRADIUS: radmeter freeradius install --quota"
            " (for `radmeter up`: give --state)"
        )
    return Place(*found)


def _of_try_out(file: Path) -> Place | None:
    """Return the place in the file that `radmeter up` writes; None if it cannot be read, or has none."""
    try:
        words = shlex.split(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    values = {name: value for name, _, value in (word.partition("=") for word in words)}
    port, secret = values.get("RADMETER_CACHE_PORT", ""), values.get("RADMETER_CACHE_SECRET")
    return Place(int(port), secret) if port.isdecimal() and secret else None


def status(place: Place) -> dict[str, int]:
    """Return the figures of the cache: its age since it was empty, users in it, hits, misses, stored, dropped.

    Hits, misses and stored are since the server's start. Users whose entries have expired are among the users.
    """
    said = _ask(place, "status")
    figures = {name.split(" ")[0]: int(value or 0) for name, value in said.items() if name != "now"}
    # An entry that was made by its first call has 0 hits.
    calls, since = figures["calls"] + 1, figures["generation"] + 1
    entries = figures["new"] - figures["dropped"]
    return {
        "age_seconds": int(said["now"]) - figures["began"],
        "users": max(0, entries),
        "hits": figures["hits"] + 1 - calls,
        "misses": figures["misses"] + 1 - calls,
        "stored": figures["stores"] + 1 - calls,
        "dropped": figures["dropped"] + 1 - since,
    }


def age_of(place: Place, username: str) -> int | None:
    """Return the seconds since a user's plan was stored; None if it is not in the cache."""
    said = _ask(place, "status of", username)
    return int(said["now"]) - int(said["stored"]) if "stored" in said else None


def drop(place: Place, username: str | None) -> bool:
    """Remove a user's plan, or with None all. Return whether there was any."""
    return "dropped" in (_ask(place, "drop all") if username is None else _ask(place, "drop", username))


def _ask(place: Place, command: str, username: str = "-") -> dict[str, str]:
    dictionary = Dictionary(str(files("radmeter.freeradius") / "dictionary"))
    request: Any = AuthPacket(code=AccessRequest, secret=place.secret.encode(), dict=dictionary)
    request.AddAttribute("User-Name", username)
    request.AddAttribute("NAS-Identifier", command)
    request.add_message_authenticator()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
            each.settimeout(ANSWER_SECONDS)
            each.connect((HOST, place.port))
            datagram = _exchange(each, request.RequestPacket())
    except OSError as error:
        raise RadmeterError(
            f"FreeRADIUS does not answer for its cache on {HOST} port {place.port}: {os_reason(error)}",
            "is it running, and was it restarted after `radmeter freeradius install --quota`?",
        ) from error
    reply: Any = request.CreateReply(packet=datagram)
    if reply.code != AccessAccept or not request.VerifyReply(reply, datagram):
        raise RadmeterError(f"the answer of {HOST} port {place.port} is not that of radmeter's cache")
    texts = [value.decode(errors="replace") for value in reply.get(REPLY_MESSAGE, [])]
    return {name: value for name, _, value in (text.rpartition("=") for text in texts)}


def _exchange(each: socket.socket, packet: bytes) -> bytes:
    for attempt in range(TRIES):
        each.send(packet)
        try:
            return each.recv(4096)
        except TimeoutError:
            if attempt == TRIES - 1:
                raise
    raise AssertionError
