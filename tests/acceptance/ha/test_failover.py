"""What was answered is counted exactly once, whichever server leads. The short form: two faults, in every run."""

from support.faults import kill_leader_with_standbys_held_back, switchover
from support.nodes import Nodes


def test_a_switchover(asynchronous: Nodes) -> None:
    asynchronous.survive(switchover)
    asynchronous.cluster.settle()


def test_the_leader_dies_while_the_standbys_lack_its_last_commits(asynchronous: Nodes) -> None:
    survived = asynchronous.survive(kill_leader_with_standbys_held_back)
    assert asynchronous.incidents() == {"rewound"}
    print(f"no writes for {survived.seconds:.1f} s, the database went back by {survived.back} records")
    asynchronous.cluster.settle()
