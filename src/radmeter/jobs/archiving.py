"""Archives months of sessions by their age, in a process of its own: `radmeter partitions archive`.

A month takes seconds to minutes. Meanwhile the other jobs go on, and keep their lease. Only one process archives at a
time (`partitions.archive.alone`), and one that is killed leaves nothing that the next one does not finish.
"""

import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psycopg

from radmeter.database.connection import explained_errors
from radmeter.plugin.config_file import VARIABLE
from radmeter.printable import printable
from radmeter.supervisor import end_with_parent

log = logging.getLogger(__name__)

JOB = "archive"
EVERY_SECONDS = 3600.0
STOP_SECONDS = 10.0
MOST_ERROR = 2000

BEFORE = (
    "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => %s), 'YYYY-MM')"
)
BEGUN = """
INSERT INTO radmeter.job_result (job, command) VALUES (%s, %s)
ON CONFLICT (job) DO UPDATE SET command = excluded.command"""
SUCCEEDED = """
UPDATE radmeter.job_result SET succeeded_at = clock_timestamp(), failed_at = NULL, error = NULL WHERE job = %s"""
FAILED = "UPDATE radmeter.job_result SET failed_at = clock_timestamp(), error = %s WHERE job = %s"
OFF = "DELETE FROM radmeter.job_result WHERE job = %s"


class ArchivingByAge:
    """Archives the months that ended at least so many months ago. 0 months: none, and the job's result is removed.

    `config` is the configuration file of the command that archives; None: the one in the usual place.
    """

    def __init__(
        self,
        dsn: str,
        after_months: int,
        directory: Path | None,
        *,
        config: Path | None = None,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._after_months = after_months
        self._directory = directory
        self._config = config
        self._every_seconds = every_seconds
        self._due = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._off_noted = False

    def step(self, connection: psycopg.Connection) -> None:
        """Begin to archive if it is time, or note how it ended. Does not wait."""
        with explained_errors("radmeter_owner"):
            if not self._after_months:
                if not self._off_noted:
                    connection.execute(OFF, (JOB,))
                    self._off_noted = True
            elif self._process is None:
                if time.monotonic() >= self._due:
                    self._begin(connection)
            elif self._process.poll() is not None:
                self._note(connection, self._process.returncode)

    def end(self) -> None:
        """End the process, if it runs. The next one goes on from there."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def _begin(self, connection: psycopg.Connection) -> None:
        row = connection.execute(BEFORE, (self._after_months,)).fetchone()
        assert row is not None
        command = ["partitions", "archive", "--before", row[0], "--to", str(self._directory), "--yes"]
        connection.execute(BEGUN, (JOB, shlex.join(command)))
        # The connection string has the password already.
        environment = {**os.environ, "RADMETER_DSN": self._dsn, "RADMETER_PASSWORD_FILE": ""}
        environment["RADMETER_LOG_FORMAT"] = "text"  # `_reason` reads it
        if self._config is not None:
            environment[VARIABLE] = str(self._config)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 # `_forget` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "radmeter", *command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=lambda: end_with_parent(signal.SIGTERM),
        )

    def _note(self, connection: psycopg.Connection, returncode: int) -> None:
        assert self._output is not None
        self._output.seek(0)
        said = [printable(line) for line in self._output.read().decode(errors="replace").splitlines()]
        self._forget()
        self._due = time.monotonic() + self._every_seconds
        if returncode == 0:
            for line in said:
                log.info("archive by age: %s", line)
            connection.execute(SUCCEEDED, (JOB,))
        else:
            error = (_reason(said) or f"it ended with the code {returncode}")[-MOST_ERROR:]
            log.warning("archive by age: %s", error)
            connection.execute(FAILED, (error, JOB))

    def _forget(self) -> None:
        if self._output is not None:
            self._output.close()
        self._process = self._output = None


def _reason(said: Sequence[str]) -> str:
    """Return why a command failed: what it said from its last error on. Before it are the months that succeeded."""
    begins = [number for number, line in enumerate(said) if line.startswith("error: ")]
    return " ".join(said[begins[-1] :] if begins else said[-1:]).removeprefix("error: ")
