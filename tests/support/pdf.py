"""Reads PDF files by poppler's programs and by pypdf: what is on their pages, and what is attached."""

import subprocess
from pathlib import Path
from typing import Any


def text_of(path: Path, page: int | None = None) -> str:
    """Return the text of a file, or of one page, laid out as on paper."""
    pages = [] if page is None else ["-f", str(page), "-l", str(page)]
    return _run("pdftotext", "-layout", *pages, path, "-").decode()


def pages_of(path: Path) -> int:
    """Return how many pages a file has."""
    (line,) = [line for line in _run("pdfinfo", path).decode().splitlines() if line.startswith("Pages:")]
    return int(line.split()[1])


def fonts_of(path: Path) -> list[str]:
    """Return the lines that say which fonts a file uses, and whether they are in it."""
    return _run("pdffonts", path).decode().splitlines()[2:]


def attached(path: Path) -> dict[str, bytes]:
    """Return the files that are attached to it."""
    reader = _reader(path)
    return {name: contents[0] for name, contents in reader.attachments.items()}


def metadata(path: Path) -> str:
    """Return its XMP metadata, which says what kind of PDF it is."""
    catalog: Any = _reader(path).trailer["/Root"]
    return bytes(catalog["/Metadata"].get_data()).decode()


def relationship(path: Path) -> list[str]:
    """Return what each attached file is to the document (AFRelationship)."""
    catalog: Any = _reader(path).trailer["/Root"]
    return [each.get_object()["/AFRelationship"] for each in catalog["/AF"]]


def _reader(path: Path) -> Any:
    # Imported here because only the tests of PDFs need it.
    import pypdf

    return pypdf.PdfReader(path)


def _run(*command: str | Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
