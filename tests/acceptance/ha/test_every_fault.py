"""The full form: every fault, asynchronous and synchronous. `scripts/test --ha` runs it, in about fifteen minutes."""

import os

import pytest
from support.faults import (
    Fault,
    freeze_leader,
    freeze_leader_for_long,
    freeze_standby,
    kill_leader,
    kill_leader_with_standbys_held_back,
    kill_postgresql,
    switchover,
)
from support.nodes import Nodes

pytestmark = pytest.mark.skipif(
    os.environ.get("RADMETER_HA") != "1", reason="the full form of the tests: scripts/test --ha"
)

# In either mode. Synchronous commits wait for a standby, so none can be held back.
FAULTS = (kill_postgresql, kill_leader, freeze_leader, freeze_leader_for_long, freeze_standby, switchover)


def survive(nodes: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    """Let a fault happen to a healthy cluster, check that all is exact, and print what docs/high-availability shows."""
    nodes.cluster.settle()
    survived = nodes.survive(fault)
    mode = "synchronous" if nodes.cluster.synchronous else "asynchronous"
    with capsys.disabled():
        gone = f", the database went back by {survived.back} records" if survived.back else ""
        print(f"\n{fault.__name__}, {mode}: no writes for {survived.seconds:.1f} s{gone}; exact")


@pytest.mark.parametrize("fault", [*FAULTS, kill_leader_with_standbys_held_back])
def test_asynchronous(asynchronous: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    survive(asynchronous, fault, capsys)


@pytest.mark.parametrize("fault", FAULTS)
def test_synchronous(synchronous: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    survive(synchronous, fault, capsys)
