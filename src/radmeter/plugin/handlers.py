"""The functions that rlm_python3 calls inside radiusd: journal the packet, then let radiusd answer it.

Standard library only. A server that could not record a packet must not answer it (RFC 2866 §2): the router sends it
again.
"""

import contextlib
import ctypes
import os
import threading
import time
from pathlib import Path

import radiusd

from radmeter.errors import ConfigurationError, JournalError
from radmeter.plugin import scheduling
from radmeter.plugin.client_limit import ClientLimits
from radmeter.plugin.config_file import described
from radmeter.plugin.journal.packet_text import to_ascii, to_text
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.plugin.quarantine import Quarantine
from radmeter.plugin.settings import PluginSettings, check_place, read_settings
from radmeter.printable import printable

Pairs = tuple[tuple[str, str], ...]

NOT_REALTIME = (
    "scheduling = realtime is not permitted here, so it is {in_force}. To permit it, set LimitRTPRIO=1 under [Service] "
    "with systemd (systemctl edit freeradius), or ulimits: rtprio: 1 with Docker Compose"
)
# radius/policy.d/radmeter keeps the packet's source address in one of these, near the end of the list.
SOURCES = ("Tmp-IP-Address-0", "Tmp-String-0")

OK = int(radiusd.RLM_MODULE_OK)
# Not FAIL: rlm_python3 writes a line of its own into the log for every FAIL. radius/policy.d/radmeter treats both as a
# failure.
REFUSED = int(radiusd.RLM_MODULE_INVALID)


class _State:
    """State that lives as long as radiusd: the journal, the instances that use it, and the failure under way."""

    settings: PluginSettings | None = None
    journal: JournalWriter | None = None
    limits: ClientLimits | None = None
    quarantine: Quarantine | None = None
    instances = 0
    rejected = False
    telling = threading.Lock()
    failing = False
    refused = 0


def instantiate(p: object) -> int:
    """Check the configuration; return 0, or -1 after an error message in the log.

    The journal is opened at the first packet, because `freeradius -C` calls this function too.
    """
    try:
        settings = read_settings(getattr(radiusd, "config", None) or {})
        check_place(settings.journal)
        if _State.settings not in (None, settings):
            raise ConfigurationError(
                "this instance's config differs from another's; they share one journal, so give all the same"
            )
    except Exception as error:
        # radiusd goes on after an exception of Python's, and would then refuse every packet.
        known = isinstance(error, ConfigurationError | OSError)
        _log(radiusd.L_ERR, f"{error}" if known else f"cannot start: {type(error).__name__}: {error}")
        _State.rejected = True
        return -1
    if _State.settings is None:
        _State.settings = settings
        _State.journal = JournalWriter(
            settings.journal,
            sync=settings.sync,
            interval_seconds=settings.sync_interval_ms / 1000,
            segment_bytes=settings.segment_bytes,
            limit_bytes=settings.journal_limit_bytes,
            on_deleted=_tell_deleted,
        )
        if settings.client_packets_per_second or settings.session_packets_per_second:
            _State.limits = ClientLimits(
                settings.client_packets_per_second, settings.session_packets_per_second
            )
        if settings.quarantine:
            _State.quarantine = Quarantine(settings.quarantine, settings.quarantine_limit_bytes)
        every = f" every {settings.sync_interval_ms} ms" if settings.sync == "interval" else ""
        scheduled = _schedule(settings)
        _log(
            radiusd.L_INFO,
            f"{described(settings.file)}, journal {settings.journal}, sync = {settings.sync}{every}, {scheduled}",
        )
    _State.instances += 1
    return 0


def _schedule(settings: PluginSettings) -> str:
    """Set the main thread's scheduling, which all other threads inherit, and return it in words."""
    wanted = settings.scheduling
    if wanted == "auto":  # realtime in interval mode: every packet preempts, a fifth fewer packets a second
        wanted = "realtime" if settings.sync == "packet" else "short"
    granted = scheduling.ask(wanted)
    in_force = scheduling.in_force()
    if not granted and settings.scheduling == "realtime":
        _log(radiusd.L_WARN, NOT_REALTIME.format(in_force=in_force))
    return f"scheduling = {settings.scheduling} ({in_force})"


def accounting(p: Pairs | None) -> int:
    """Journal one Accounting-Request. Return OK, after which radiusd answers, only when the journal has it."""
    try:
        assert _State.journal is not None
        pairs = p or ()
        if _State.limits is not None and not _within_limit(_State.limits, pairs):
            return REFUSED
        if _State.quarantine is not None:
            _State.quarantine.check(time.monotonic())
        try:
            _State.journal.append(time.time_ns() // 1000, to_text(pairs))
        except UnicodeEncodeError:
            _State.journal.append(time.time_ns() // 1000, to_ascii(pairs))
    except Exception as error:
        return _refuse(error)
    if _State.failing:
        _recovered()
    return OK


def _within_limit(limits: ClientLimits, pairs: Pairs) -> bool:
    """Tell whether the packet is within its client's and session's limit. Log when a flood begins and is over."""
    client = ""
    for name, value in reversed(pairs):
        if name in SOURCES:
            client = value
            break
    now = time.monotonic()
    allowed = limits.allow(client, now)
    if not allowed:
        if limits.refused(client) == 1:
            rate = _State.settings.client_packets_per_second if _State.settings else 0
            _log(
                radiusd.L_ERR,
                f"client {client} sends more than client_packets_per_second = {rate} while others send too: "
                "the rest is not answered",
            )
    elif refused := limits.end_flood(client):
        _log(
            radiusd.L_INFO,
            f"client {client} is within its limit again; {refused} of its packets were refused",
        )
    return allowed and _within_session_limit(limits, client, pairs, now)


def _within_session_limit(limits: ClientLimits, client: str, pairs: Pairs, now: float) -> bool:
    """Tell whether the packet is within its session's limit. Log when a flood begins and when it is over."""
    if limits.allow_session(client, pairs, now):
        if cut := limits.end_session_flood(client, now):
            _log(radiusd.L_INFO, f"client {client} floods no session any more; {cut} packets were refused")
        return True
    if limits.cut(client) == 1:
        rate = _State.settings.session_packets_per_second if _State.settings else 0
        _log(
            radiusd.L_ERR,
            f"client {client} sends more than session_packets_per_second = {rate} of one session, or Accounting-On of "
            "one router, while others send too: the rest is not answered",
        )
    return False


def detach(*_: object) -> int:
    """Close the journal when the last instance is detached, and end the process."""
    _State.instances -= 1
    if _State.instances > 0 or _State.rejected:  # rejected: radiusd ends by itself, with a failure
        return 0
    if _State.journal is not None:
        try:
            _State.journal.close()
        except JournalError as error:
            _log(radiusd.L_ERR, f"the journal was not closed cleanly: {error}")
    # FreeRADIUS 3.2.1 would abort in Py_Finalize, so end here. C's buffers still hold the output of `freeradius -C`.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
    os._exit(0)


def _refuse(error: Exception) -> int:
    """Refuse a packet. Log the first refusal of a failure only."""
    with _State.telling:
        _State.refused += 1
        begins, _State.failing = not _State.failing, True
    if begins:
        reason = str(error) or type(error).__name__
        _log(radiusd.L_ERR, f"packets cannot be kept and are not answered: {reason}")
    return REFUSED


def _tell_deleted(path: Path) -> None:
    _log(radiusd.L_WARN, f"the disk is full: the kept segment {path}, which was shipped, is deleted")


def _recovered() -> None:
    with _State.telling:
        failing, _State.failing = _State.failing, False
        refused, _State.refused = _State.refused, 0
    if failing:
        _log(radiusd.L_INFO, f"packets are kept and answered again; {refused} were refused since it failed")


def _log(level: int, message: str) -> None:
    radiusd.radlog(level, "radmeter: " + printable(message))  # radlog refuses an embedded NUL
