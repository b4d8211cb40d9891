"""Networks that split and heal: who was cut off gives up by itself, and all is exact. `scripts/test --ha` runs it."""

import pytest
from support.faults import (
    Fault,
    cut_clients_off,
    cut_leader_off,
    cut_leader_off_but_for_clients,
    cut_leader_off_from_etcd,
)
from support.full_form import only_in_the_full_form
from support.nodes import Nodes, survive_and_say

pytestmark = only_in_the_full_form


@pytest.mark.parametrize(
    "fault", [cut_leader_off, cut_leader_off_from_etcd, cut_leader_off_but_for_clients, cut_clients_off]
)
def test_asynchronous(splittable: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    survived = survive_and_say(splittable, fault, capsys)
    # What the clients committed where no standby saw it was gone, and is there again.
    assert (survived.back > 0) or fault is not cut_leader_off_but_for_clients
    # The member that was cut off is a standby again.
    splittable.cluster.settle()


@pytest.mark.parametrize("fault", [cut_leader_off, cut_leader_off_but_for_clients])
def test_synchronous(synchronous_splittable: Nodes, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    survive_and_say(synchronous_splittable, fault, capsys)
    synchronous_splittable.cluster.settle()
