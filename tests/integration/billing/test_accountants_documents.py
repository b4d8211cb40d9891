"""docs/accountants: what its commands and its SQL print is what the documents show, in a small scene.

`RADMETER_ACCOUNTANTS=write` writes it into them.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import radmeter, run
from support.documents import fences
from support.servers import Connection, Server

DOCS = Path(__file__).parents[3] / "docs" / "accountants"
# A fence of the shell: a command and what it prints. A fence of SQL, and below it one with what psql prints.
COMMAND = re.compile(r"(?<=^```\n)\$ (radmeter .*)\n((?:.*\n)*?)(?=^```$)", re.MULTILINE)
QUERY = re.compile(r"(?<=^```sql\n)((?:.*\n)*?)```\n\n```\n((?:.*\n)*?)(?=^```$)", re.MULTILINE)

SESSIONS = """
INSERT INTO radacct (acctuniqueid, acctsessionid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     acctstoptime, acctsessiontime, acctinputoctets, acctoutputoctets)
SELECT username || number, username || number, username, router.id, '10.0.0.1', began, ended, ended,
       extract(epoch FROM ended - began)::bigint, bytes_in, bytes_out
FROM (VALUES
    ('alice', 1, 'lobby', timestamptz '2026-01-05 18:00+00', timestamptz '2026-01-05 21:30+00', 400000000, 5600000000),
    ('alice', 2, 'roof', '2026-01-20 07:00+00', '2026-01-20 09:00+00', 150000000, 2350000000),
    ('bob', 1, 'lobby', '2026-01-31 22:10+00', '2026-01-31 23:40+00', 90000000, 910000000),
    ('carol', 1, 'pool', '2026-01-12 10:00+00', '2026-01-12 10:45+00', 20000000, 480000000)
) AS session (username, number, router, began, ended, bytes_in, bytes_out)
JOIN routers AS router ON router.name = session.router
ORDER BY ended"""


@pytest.fixture
def radmeter_of(database: str, connection: Connection, tmp_path: Path) -> Callable[[str], str]:
    """Runs a command of the documents in a database with three routers and three users; returns what it prints."""
    run(database, "partitions", "ensure", "2026-01")
    for name, zone in (("lobby", "Europe/Berlin"), ("roof", "Europe/Berlin"), ("pool", "UTC")):
        run(database, "routers", "add", "--name", name)
        run(database, "routers", "set", name, "--timezone", zone)
    connection.execute(SESSIONS)
    settings = {
        "RADMETER_BILLING_DIRECTORY": str(tmp_path / "billing"),
        "RADMETER_BILLING_KEY_FILE": str(tmp_path / "billing.key"),
    }

    def ran(command: str) -> str:
        words = [word.replace("/tmp/", f"{tmp_path}/") for word in shlex.split(command)[1:]]
        done = radmeter(database, *words, **settings)
        assert done.exit_code == 0, done.errors
        return done.output.replace(str(tmp_path), "/tmp")

    return ran


def is_so(document: Path, pattern: re.Pattern[str], printed: Callable[[str], str]) -> int:
    """Compare what a document shows with what is printed. Return how many parts it has."""
    found = list(pattern.finditer(text := document.read_text()))
    pieces, end = [], 0
    for part in found:
        pieces += [text[end : part.start(2)], printed(part[1])]
        end = part.end(2)
    made = "".join([*pieces, text[end:]])
    if os.environ.get("RADMETER_ACCOUNTANTS") == "write":
        document.write_text(made)
    else:
        assert made == text
    return len(found)


def test_the_month_of_the_walk_through(radmeter_of: Callable[[str], str]) -> None:
    assert is_so(DOCS / "billing.md", COMMAND, radmeter_of) == len(fences(DOCS / "billing.md"))


def test_the_examples_in_sql(radmeter_of: Callable[[str], str], server: Server, database: str) -> None:
    for command, _ in COMMAND.findall((DOCS / "billing.md").read_text()):
        radmeter_of(command)

    def asked(query: str) -> str:
        done = subprocess.run(
            [server.programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database],
            input=query,
            env={**os.environ, "PGTZ": "UTC", "PGDATESTYLE": "ISO"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return "\n".join(line.rstrip() for line in done.stdout.rstrip("\n").split("\n")) + "\n"

    assert 2 * is_so(DOCS / "tables.md", QUERY, asked) == len(fences(DOCS / "tables.md"))
