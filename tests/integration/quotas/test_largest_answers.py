"""Whatever numbers a router sends, in packets and in answers: a request is made, and what became of it is kept."""

import uuid
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.quota_queue import ask, requests, session, set_coa
from support.scripted_nas import SECRET
from support.servers import Connection

from radmeter.quotas import coa, queue
from radmeter.quotas.following import after_acknowledged, after_answer, after_silence
from radmeter.quotas.limits import attributes

OCTETS = st.sampled_from((None, 0, 1, 2**32, 2**63 - 1))
SECONDS = st.sampled_from((None, 0, 1, 2**31 - 1))
INSTANTS = st.sampled_from((None, "2026-01-01", "4713-01-01 BC", "294276-12-31"))
SESSION = st.fixed_dictionaries(
    {
        "acctinputoctets": OCTETS,
        "acctoutputoctets": OCTETS,
        "acctsessiontime": st.sampled_from((None, 0, 2**32, 2**63 - 1)),
        "interim_interval": SECONDS,
        "acctupdatetime": INSTANTS,
        "arrived_at": INSTANTS,
    }
)
CAUSES = st.none() | st.sampled_from((401, 503, 504, 507)) | st.integers(0, 2**32 - 1)
LARGEST = {
    "acctinputoctets": 2**63 - 1,
    "acctoutputoctets": 2**63 - 1,
    "acctsessiontime": 2**63 - 1,
    "interim_interval": 2**31 - 1,
    "acctupdatetime": "294276-12-31",
    "arrived_at": None,
}


def test_every_number_of_a_router_is_recorded(database: str, connection: Connection, tmp_path: Path) -> None:
    """Error-Cause has 32 bits without a sign. One that PostgreSQL refuses would keep all other requests waiting."""
    session(database)
    set_coa(connection, tmp_path / "coa.key", address="127.0.0.1", vendor="mikrotik")
    connection.execute(
        """INSERT INTO plans (name, quota_bytes, quota_bytes_in, quota_seconds, valid_seconds)
           VALUES ('largest', 9223372036854775807, 9223372036854775807, 3155760000, 3155760000);
           INSERT INTO subscribers (username, plan_id, first_used_at) SELECT 'bob', id, now() FROM plans"""
    )
    worker = uuid.uuid4()

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @example(found=LARGEST, act="disconnect", cause=2**31)
    @example(found=LARGEST, act="coa", cause=2**32 - 1)
    @given(found=SESSION, act=st.sampled_from(("disconnect", "coa")), cause=CAUSES)
    def check(found: dict[str, Any], act: str, cause: int | None) -> None:
        connection.execute("DELETE FROM radmeter.disconnect_queue; DELETE FROM radmeter.router_coa_state")
        connection.execute("SET session_replication_role = replica")
        names = ", ".join(f"{name} = %({name})s" for name in found)
        connection.execute(f"UPDATE radacct SET {names}, acctstoptime = NULL".encode(), found)
        connection.execute("RESET session_replication_role")
        ask(connection, act, reason="throttled")
        found_due = queue.claim(connection, worker)
        assert found_due, requests(connection)[0]["error"]
        (claimed,) = found_due
        limits = attributes(claimed.limits, claimed.vendor_attributes, claimed.profile.coa_standard)
        coa.make(claimed.act, claimed.session, claimed.profile, limits, identifier=1, secret=SECRET, at=0)
        steps = [
            after_answer(claimed.asked, coa.Answer(False, cause)),
            after_answer(claimed.asked, coa.Answer(True, cause)),
            after_silence(claimed.asked, "silent"),
            after_acknowledged(claimed.asked),
        ]
        for step in steps:
            connection.execute(
                """UPDATE radmeter.disconnect_queue SET state = 'sent', act = %s, claimed_by = %s, ended_at = NULL,
                       error_cause = NULL""",
                (act, worker),
            )
            queue.record(connection, worker, [queue.Result(claimed, step, True, cause)])
            (row,) = requests(connection)
            assert (row["claimed_by"], row["error_cause"]) == (None, cause)

    check()
