"""Each flood of the bench for a moment, beside another client: that one is served and counted, and nothing grows on."""

from pathlib import Path

import pytest
from support.processes import Database, FreeRadius, Shipper, eventually
from support.wire import Router

from bench.flooding import FloodingClient
from bench.floods import KINDS

pytestmark = pytest.mark.usefixtures("two_clients")

LIMIT = 100
KEPT = 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_costs_the_others_nothing_and_fills_no_more_than_its_limits(
    tmp_path: Path, database: Database, kind: str
) -> None:
    for name in ("rejected_per_client_hour", "anomalies_per_router_hour"):
        database.rows("SELECT radmeter.set_limit(%s, %s)", name, str(KEPT))
    with (
        FreeRadius(tmp_path / "run", tmp_path / "journal", client_packets_per_second=LIMIT) as server,
        Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper,
        Router(server.start().address, source="127.0.0.3") as other,
    ):
        shipper.start()
        sent = 0
        with FloodingClient(server.address[1], rate=4 * LIMIT, packet=KINDS[kind]) as flood:
            # Within the limit, which a client may exceed by two seconds' worth.
            while sent < LIMIT:
                assert other.send(
                    {
                        "User-Name": "other",
                        "Acct-Status-Type": "Stop",
                        "Acct-Session-Id": f"other{sent}",
                        "NAS-Identifier": "other",
                        "Acct-Input-Octets": 1,
                        "Acct-Output-Octets": 10,
                    },
                    seconds=10.0,
                )
                sent += 1
            eventually(lambda: flood.sent >= 2 * LIMIT and flood.answered > KEPT, True)
            flood.stop()
        eventually(lambda: database.user("other"), [(sent, 10 * sent)])
        # What the flood was answered is in the database: counted, set aside, left out or ignored.
        at_least = sent + flood.answered
        eventually(
            lambda: database.rows("SELECT sum(records) >= %s FROM radmeter.nodes", at_least), [(True,)]
        )
        kept, anomalies = database.rows(
            "SELECT (SELECT count(*)::int FROM rejected_packet), (SELECT count(*)::int FROM accounting_anomaly)"
        )[0]
        assert kept <= 2 * KEPT  # the hour may change meanwhile
        assert anomalies <= 2 * KEPT
        hours = database.rows(
            "SELECT coalesce(sum(kept + left_out), 0)::int FROM radmeter.kept_per_hour WHERE kind ="
            " 'rejected packet'"
        )
        ((rejected, ignored),) = database.rows(
            "SELECT sum(rejected)::int, sum(ignored)::int FROM radmeter.nodes"
        )
        assert hours == [(rejected,)]
        assert (rejected > 0, ignored > 0) == (
            kind == "rejected packets",
            kind == "status types without usage",
        )
