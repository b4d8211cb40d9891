"""A router gone mad is answered no more than its limit; the others are served as before."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.processes import Database, FreeRadius, Shipper, eventually
from support.wire import SECRET, Router, request

from radmeter.freeradius.probe import answers

LIMIT = 50
FLOOD = "sends more than client_packets_per_second"


@pytest.mark.usefixtures("two_clients")
@pytest.mark.parametrize("options", [(), ("-t",)], ids=["with threads", "without threads"])
def test_a_flood_is_answered_no_more_than_its_limit_and_others_as_before(
    tmp_path: Path, database: Database, options: Sequence[str]
) -> None:
    with (
        FreeRadius(
            tmp_path / "run", tmp_path / "journal", client_packets_per_second=LIMIT, options=options
        ) as server,
        Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper,
        Router(server.start().address, source="127.0.0.2") as other,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood,
    ):
        flood.bind(("127.0.0.1", 0))
        flood.setblocking(False)
        assert other.send(stop("other", 0))
        began = time.monotonic()
        sent, others = 0, 1
        while others < 40:
            for _ in range(50):
                # Answered or not, an identifier is used again at once: no two packets are the same.
                flood.sendto(request(stop("flood", sent), identifier=sent % 256), server.address)
                sent += 1
            assert other.send(stop("other", others), seconds=5.0)
            # A sign of life is no packet of accounting: it is no part of any limit.
            assert others % 10 or answers(*server.address, SECRET.decode(), seconds=5.0)
            others += 1
        seconds = time.monotonic() - began
        eventually(lambda: len(server.lines(FLOOD)), 1)
        shipper.start()
        eventually(lambda: database.user("other"), [(others, 10 * others)])
        ((kept, _),) = database.user("flood")
        assert kept <= LIMIT * (seconds + 4) < sent
        assert "127.0.0.1" in server.lines(FLOOD)[0]


def stop(user: str, number: int) -> dict[str, str | int]:
    """A session of one octet in and ten out."""
    return {
        "User-Name": user,
        "Acct-Status-Type": "Stop",
        "Acct-Session-Id": f"{user}{number}",
        "NAS-Identifier": user,
        "Acct-Input-Octets": 1,
        "Acct-Output-Octets": 10,
    }
