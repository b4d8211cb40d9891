"""Writes metrics into a file for node-exporter's textfile collector."""

from pathlib import Path

from radmeter.durable_files import write_durably

# node-exporter is another user.
MODE = 0o644


def write(path: Path, text: bytes) -> None:
    """Write the file under another name, and then give it its name: node-exporter never reads half of it.

    The other name does not end in ``.prom``, so node-exporter passes it over.

    Raises
    ------
    OSError
        The file cannot be written. The one that was there stays.
    """
    write_durably(path, text, MODE)
