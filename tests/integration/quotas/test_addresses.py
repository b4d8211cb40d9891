"""Where requests to a router go: the same for those that are sent, for `test-coa`, and for `routers show`."""

import uuid
from pathlib import Path

import pytest
from support.commands import Packets
from support.quota_queue import ask, session, set_coa
from support.servers import Connection

from radmeter.errors import StoreError
from radmeter.quotas import queue
from radmeter.quotas.trying import target

# Each is taken if none before it is known.
KNOWN = {
    "192.0.2.1": "UPDATE radmeter.router_coa SET address = '192.0.2.1'",
    "192.0.2.2": """INSERT INTO radmeter.router_coa_state (router_id, packets_from)
                    SELECT router_id, '192.0.2.2' FROM radmeter.router_coa
                    ON CONFLICT (router_id) DO UPDATE SET packets_from = excluded.packets_from""",
    "192.0.2.3": "UPDATE routers SET ip_address = '192.0.2.3'",
    "192.0.2.4": "UPDATE radacct SET nasipaddress = '192.0.2.4'",
}


def test_requests_of_a_bound_router_go_to_its_clients_only(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    """Also if the packet of another client was there first. Its later ones are refused, and move nothing."""

    def packet(session_id: str, client: str) -> None:
        with Packets(database) as packets:
            packets.add("Start", session_id, User_Name="bob", NAS_Identifier="lobby", Tmp_IP_Address_0=client)
            packets._batch[-1]["new_client"] = True  # the shipper marks them

    packet("s1", "192.0.2.66")
    router = set_coa(connection, tmp_path / "coa.key")
    connection.execute("UPDATE routers SET ip_address = '192.0.2.3'")
    assert target(connection, router).address == "192.0.2.66"
    connection.execute("UPDATE routers SET clients = '{192.0.2.2/32}'")
    assert target(connection, router).address == "192.0.2.3"
    packet("s2", "192.0.2.2")
    assert target(connection, router).address == "192.0.2.2"
    with pytest.raises(StoreError, match="is bound to the RADIUS clients"):
        packet("s3", "192.0.2.66")
    assert target(connection, router).address == "192.0.2.2"


@pytest.mark.parametrize("address", KNOWN)
def test_all_use_the_same_address(
    database: str, connection: Connection, tmp_path: Path, address: str
) -> None:
    session(database)
    router = set_coa(connection, tmp_path / "coa.key")
    connection.execute("UPDATE routers SET ip_address = NULL; DELETE FROM radmeter.router_coa_state")
    for known in list(KNOWN)[list(KNOWN).index(address) :]:
        connection.execute(KNOWN[known].encode())
    ask(connection)
    (claimed,) = queue.claim(connection, uuid.uuid4())
    shown = connection.execute(
        "SELECT host(address) FROM radmeter.router_requests WHERE router_id = %s", (router,)
    ).fetchone()
    assert (claimed.address, target(connection, router).address, shown) == (address, address, (address,))
