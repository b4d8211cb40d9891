"""A month has the same indexes whether radmeter.ensure_partition or a split makes it."""

import re
from pathlib import Path

from radmeter.partitions.split_tables import INDEXES

FILE = Path(__file__).parents[2] / "sql" / "functions" / "partitions" / "ensure_partition.sql"


def test_a_split_makes_the_indexes_of_ensure_partition() -> None:
    made = re.findall(r"'CREATE (UNIQUE )?INDEX ON public\.%I (\(.*?\))'", FILE.read_text())
    assert [(bool(unique), f"btree {columns}") for unique, columns in made] == list(INDEXES)
