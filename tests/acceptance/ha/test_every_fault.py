"""The full form: every fault, asynchronous and synchronous. `scripts/test --ha` runs it, in about twenty minutes."""

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
from support.full_form import only_in_the_full_form
from support.nodes import Nodes, survive_and_say

pytestmark = only_in_the_full_form

# In either mode. Synchronous commits wait for a standby, so none can be held back.
FAULTS = (kill_postgresql, kill_leader, freeze_leader, freeze_leader_for_long, freeze_standby, switchover)


@pytest.mark.parametrize("fault", [*FAULTS, kill_leader_with_standbys_held_back])
def test_asynchronous(asynchronous: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    survive_and_say(asynchronous, fault, capsys)


@pytest.mark.parametrize("fault", FAULTS)
def test_synchronous(synchronous: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    survive_and_say(synchronous, fault, capsys)
