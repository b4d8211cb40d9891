"""How far a node's journal was ingested."""

from support.functions import value
from support.servers import Connection


def test_node_checkpoint_is_zero_for_a_new_node(connection: Connection) -> None:
    connection.execute("INSERT INTO ingest_checkpoint (node, last_seq) VALUES ('known', 4294967299)")
    assert value(connection, "radmeter.node_checkpoint('known')") == 4294967299
    assert value(connection, "radmeter.node_checkpoint('new')") == 0


def test_ingest_of_nothing_moves_no_checkpoint(connection: Connection) -> None:
    assert value(connection, "radmeter.ingest('n', '[]')") == 0
    assert connection.execute("SELECT count(*) FROM ingest_checkpoint").fetchone() == (0,)
