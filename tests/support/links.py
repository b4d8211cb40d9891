"""The network between the members of a cluster, etcd and the clients, in which a member can be cut off.

A relay of TCP stands in each way. What is lost there is lost for both ends, and neither is told. The kernel of the
loopback still acknowledges what is sent, so keepalives and tcp_user_timeout notice nothing: only deadlines do.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, Self

from support.frozen import Relay

Peer = Literal["clients", "members", "etcd"]


class Links:
    """The ways between one member and its peers.

    Clients and other members come to its PostgreSQL and to its Patroni, each on ports of their own. Its Patroni goes
    to etcd. A leader opens no connection to other members without etcd, so there is no way to them.
    """

    def __init__(self, postgresql: int, patroni: int, etcd: int) -> None:
        """The ports of its PostgreSQL, of its Patroni, and of etcd."""
        self._stack = ExitStack()
        self.clients, self.clients_patroni = self._relay(postgresql), self._relay(patroni)
        self.members, self.members_patroni = self._relay(postgresql), self._relay(patroni)
        self.etcd = self._relay(etcd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _relay(self, port: int) -> Relay:
        return self._stack.enter_context(Relay(("127.0.0.1", port)))

    @contextmanager
    def cut(self, *peers: Peer) -> Iterator[None]:
        """Lose everything between the member and these peers for the block. Then the network heals."""
        relays = [relay for peer in peers for relay in self._to(peer)]
        try:
            for relay in relays:
                relay.cut(wholly=True)
            yield
        finally:
            for relay in relays:
                relay.heal()

    def _to(self, peer: Peer) -> list[Relay]:
        if peer == "clients":
            return [self.clients, self.clients_patroni]
        if peer == "members":
            return [self.members, self.members_patroni]
        return [self.etcd]
