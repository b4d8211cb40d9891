"""What can happen to a cluster. Each fault returns when the cluster has a leader that takes writes.

A fault gets the cluster, and waits with `written` until every node has written to the leader of that moment.
"""

import time
from collections.abc import Callable

import psycopg

from support.cluster import Cluster, Member
from support.processes import until

Written = Callable[[], None]
Fault = Callable[[Cluster, Written], None]

# How long the standbys get nothing before the leader dies. Patroni and PostgreSQL notice after some 20 seconds.
HELD_BACK_SECONDS = 2.5
# How long a frozen leader sleeps on while another one leads.
FROZEN_SECONDS = 10.0
# How long clients do not reach a leader that is well. Longer than HAProxy needs to notice, and than etcd's keys live.
CUT_SECONDS = 25.0


def kill_postgresql(cluster: Cluster, written: Written) -> None:
    """Kill the leader's postmaster. Patroni starts it again, or another member takes over."""
    cluster.the_leader().kill_postmaster()
    cluster.the_leader()


def kill_leader(cluster: Cluster, written: Written) -> None:
    """Kill the leader's Patroni and PostgreSQL. It comes back when another member leads."""
    leader = cluster.the_leader()
    leader.kill()
    _another_leads(cluster, leader)
    leader.start()


def freeze_leader(cluster: Cluster, written: Written) -> None:
    """Freeze the leader until another member leads, and a while longer. Then it wakes up and believes that it leads.

    A batch that was under way goes on there, and its commit is lost when the former leader is rewound.
    """
    leader = cluster.the_leader()
    leader.freeze()
    try:
        _another_leads(cluster, leader)
        time.sleep(FROZEN_SECONDS)
    finally:
        leader.thaw()


def freeze_leader_for_long(cluster: Cluster, written: Written) -> None:
    """Freeze the leader until every node has given it up and writes to its successor."""
    leader = cluster.the_leader()
    leader.freeze()
    try:
        _another_leads(cluster, leader)
        written()
    finally:
        leader.thaw()


def freeze_standby(cluster: Cluster, written: Written) -> None:
    """Freeze a standby (in synchronous mode the one that commits wait for) until the cluster has given it up."""
    standby = cluster.awaited_standby()
    standby.freeze()
    try:
        until("the cluster has given the standby up", lambda: not cluster.knows(standby))
    finally:
        standby.thaw()


def switchover(cluster: Cluster, written: Written) -> None:
    """Move the leader to another member, as an operator does."""
    leader = cluster.the_leader()
    candidate = cluster.awaited_standby()
    cluster.move_leader(leader, candidate)
    _another_leads(cluster, leader)


def kill_leader_with_standbys_held_back(cluster: Cluster, written: Written) -> None:
    """Keep the WAL from the standbys for a moment, then kill the leader: what was committed in that moment is gone."""
    leader = cluster.the_leader()
    before = leader.wal_position()
    leader.hold_back_the_standbys()
    time.sleep(HELD_BACK_SECONDS)
    lost = leader.wal_position()
    assert lost != before, "nothing was written meanwhile"
    leader.kill()
    successor = _another_leads(cluster, leader)
    with psycopg.connect(successor.dsn) as connection:
        row = connection.execute(
            "SELECT pg_wal_lsn_diff(%s, %s)::bigint", (lost, successor.began_at())
        ).fetchone()
    assert row is not None
    assert row[0] > 0, "the successor has all that the dead leader had"
    leader.start()


def cut_leader_off(cluster: Cluster, written: Written) -> None:
    """Cut the leader off from everybody until both nodes write to its successor. It lives, and gives up by itself."""
    leader = cluster.the_leader()
    with leader.links.cut("clients", "members", "etcd"):
        _another_leads(cluster, leader)
        assert not leader.takes_writes(), "two leaders"
        written()


def cut_leader_off_from_etcd(cluster: Cluster, written: Written) -> None:
    """Cut the leader off from etcd only. Clients and standbys reach it until it gives up."""
    leader = cluster.the_leader()
    with leader.links.cut("etcd"):
        _another_leads(cluster, leader)
        assert not leader.takes_writes(), "two leaders"
        written()


def cut_leader_off_but_for_clients(cluster: Cluster, written: Written) -> None:
    """Cut the leader off from etcd and the standbys. What clients commit there until it gives up has no standby."""
    leader = cluster.the_leader()
    with leader.links.cut("members", "etcd"):
        _another_leads(cluster, leader)
        assert not leader.takes_writes(), "two leaders"
        written()


def cut_clients_off(cluster: Cluster, written: Written) -> None:
    """Cut the clients off from the leader for a while. It goes on to lead: to etcd and the standbys all is well."""
    leader = cluster.the_leader()
    with leader.links.cut("clients"):
        time.sleep(CUT_SECONDS)
    assert cluster.the_leader() is leader


def _another_leads(cluster: Cluster, former: Member) -> Member:
    def found() -> bool:
        return cluster.leader() not in (None, former)

    until(f"a successor of {former.name}", found)
    return cluster.the_leader()
