"""What was answered is counted exactly once, whichever server leads. The short form: two faults, in every run."""

import psycopg
from support.commands import radmeter
from support.doctoring import ask, one
from support.faults import kill_leader_with_standbys_held_back, switchover
from support.nodes import Nodes


def test_a_switchover(asynchronous: Nodes) -> None:
    asynchronous.survive(switchover)
    asynchronous.cluster.settle()


def test_a_standby_can_be_read(asynchronous: Nodes) -> None:
    standby = asynchronous.cluster.standby_through_haproxy()
    with psycopg.connect(standby) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    listed = radmeter("postgresql://nowhere.invalid/", "routers", "list", RADMETER_READ_DSN=standby)
    assert listed.exit_code == 0, listed.errors
    lines = ask(standby, "--only", "jobs", "--only", "ingest", "--only", "connection")
    assert {one(lines, "jobs").level, one(lines, "ingest").level} == {"unknown"}
    assert one(lines, "connection").level == "yellow"


def test_the_leader_dies_while_the_standbys_lack_its_last_commits(asynchronous: Nodes) -> None:
    survived = asynchronous.survive(kill_leader_with_standbys_held_back)
    assert asynchronous.incidents() == {"rewound"}
    print(f"no writes for {survived.seconds:.1f} s, the database went back by {survived.back} records")
    asynchronous.cluster.settle()
