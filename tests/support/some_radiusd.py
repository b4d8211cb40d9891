"""A FreeRADIUS that runs and looks as if it had a certain configuration directory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from support.processes import READY, free_port


@contextmanager
def some_radiusd(directory: Path, *, user: str | None = None, **environment: str) -> Iterator[int]:
    """Run a radiusd whose first option -d names a directory that need not be complete; give its process id.

    The server itself takes the last -d, of a configuration that has one port only.
    """
    with TemporaryDirectory() as own:
        Path(own).chmod(0o755)
        (Path(own) / "radiusd.conf").write_text(
            f"logdir = {own}\nlisten {{\n\ttype = auth\n\tipaddr = 127.0.0.1\n\tport = {free_port()}\n}}\n"
        )
        process = subprocess.Popen(
            ["freeradius", "-f", "-l", "stdout", "-d", str(directory), "-d", own],
            stdout=subprocess.PIPE,
            text=True,
            user=user,
            env={**os.environ, **environment},
        )
        try:
            assert process.stdout is not None
            assert any(READY in line for line in process.stdout)
            yield process.pid
        finally:
            process.kill()
            process.communicate()
