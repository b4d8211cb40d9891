"""Runs `radmeter` commands, and makes packets for them to show."""

import csv
import io
import json
import os
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

from radmeter.cli.main import main
from radmeter.ingest.store import Store
from radmeter.packet.record import AccountingRecord
from support.ledger import ingest, progress

NODE = "test-node"


@dataclass(frozen=True)
class Result:
    """A command's exit code and output."""

    exit_code: int
    output: str
    errors: str

    def json(self) -> Any:
        """Return its output, parsed."""
        assert self.exit_code == 0, self.errors
        return json.loads(self.output)

    def csv(self) -> list[dict[str, str]]:
        """Return its output as rows."""
        assert self.exit_code == 0, self.errors
        return list(csv.DictReader(io.StringIO(self.output)))


def radmeter(dsn: str | None, *arguments: str | Path, **environment: str) -> Result:
    """Run the command as the console script does, with only the given settings."""
    output, errors = io.StringIO(), io.StringIO()
    exit_code = radmeter_into(output, errors, dsn, *arguments, **environment)
    return Result(exit_code, output.getvalue(), errors.getvalue())


def run(dsn: str, *arguments: str | Path) -> str:
    """Run a command that succeeds. Return its output."""
    done = radmeter(dsn, *arguments)
    assert done.exit_code == 0, done.errors
    return done.output


def refused(dsn: str, *arguments: str | Path) -> str:
    """Run a command that fails, and says why. Return that, as one line."""
    done = radmeter(dsn, *arguments)
    assert done.exit_code != 0, done.output
    assert "Traceback" not in done.errors
    return " ".join(done.errors.split())


def radmeter_into(
    output: TextIO, errors: TextIO, dsn: str | None, *arguments: str | Path, **environment: str
) -> int:
    """Do the same with streams for standard output and standard error; return the exit code."""
    settings = {"RADMETER_JOURNAL": "/nonexistent/journal", "RADMETER_STATE": "/nonexistent/state"}
    if dsn is not None:
        settings["RADMETER_DSN"] = dsn
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))}
    with (
        patch.dict(os.environ, {**inherited, **settings, **environment}, clear=True),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    return 0


def packet(
    seq: int, status: str, session: str, *, ago: float = 0, skew: int = 0, **attributes: str | int
) -> dict[str, Any]:
    """Make a packet that arrived `ago` seconds ago from a router whose clock is `skew` seconds fast.

    Underscores in the names of attributes stand for dashes. The packet is in the form that `radmeter.ingest` takes.
    """
    now_us = int((time.time() - ago) * 1e6)
    pairs = {
        "Acct-Status-Type": status,
        "Acct-Session-Id": session,
        "NAS-IP-Address": "10.0.0.1",
        "Tmp-Integer-0": str(now_us // 1_000_000 + skew),
        **{name.replace("_", "-"): str(value) for name, value in attributes.items()},
    }
    return AccountingRecord.from_pairs(list(pairs.items()), now_us, seq).as_json()


class Packets:
    """Makes accounting packets and ingests them in order."""

    def __init__(self, dsn: str, node: str = NODE, *, lock_timeout: str | None = None) -> None:
        self._dsn = dsn
        self._node = node
        self._store = Store(dsn)
        self._batch: list[dict[str, Any]] = []
        try:
            if lock_timeout is not None:
                self._store._connection.execute(f"SET lock_timeout = '{lock_timeout}'")
            self.seq = progress(self._store, node).seq
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> "Packets":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.ship()
        finally:
            self._store.close()

    def reconnect(self) -> None:
        """Ingest what is left over a new connection, as a shipper does after a failure."""
        self._store.close()
        self._store = Store(self._dsn)
        self.ship()

    def add(
        self, status: str, session: str, *, ago: float = 0, skew: int = 0, **attributes: str | int
    ) -> None:
        """Make a packet as `packet` does, with the next number."""
        self.seq += 1
        self._batch.append(packet(self.seq, status, session, ago=ago, skew=skew, **attributes))

    def ship(self) -> None:
        """Ingest the packets that were made so far, by arrival as in a journal."""
        numbers = [record["seq"] for record in self._batch]
        self._batch.sort(key=lambda record: int(record["received_us"]))
        for number, record in zip(numbers, self._batch, strict=True):
            record["seq"] = number
        for first in range(0, len(self._batch), 1000):
            ingest(self._store, self._node, self._batch[first : first + 1000])
        self._batch.clear()
