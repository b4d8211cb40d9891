"""The directory of issued documents, outside of the database: a file of signed JSON for each.

When a database is restored from a dump, documents that were issued since then are only here. So no number is given
twice.
The signature is Ed25519, over the document's canonical JSON: keys sorted, no blanks, UTF-8.
"""

import base64
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from radmeter import resources
from radmeter.durable_files import write_durably
from radmeter.errors import ConfigurationError, MissingExtra, StoreError, os_reason
from radmeter.secret_files import read_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = 1
PUBLIC_KEY = "billing.pub"
LOCK = ".lock"
KINDS = ("invoice", "credit_note")
NAME = re.compile(r"(invoice|credit_note)-([0-9]{1,19})-([0-9]{1,9})-([0-9]{1,19})\.json")
# A month of a tenant with 1,000 routers is about 2 MB.
LARGEST_BYTES = 1 << 30
# Root's umask must not hide documents from the user who runs the commands, nor show them to everybody.
MODE = 0o640


class BadFile(StoreError):
    """A file of the directory is not what was issued."""


class Key(NamedTuple):
    """What identifies a document: its kind, issuer, year of the counter (0: none) and number within it."""

    kind: str
    issuer_id: int
    number_year: int
    sequence: int

    @property
    def file_name(self) -> str:
        """The name of its file. Numbers have at least eight figures, so that a listing is in order."""
        return f"{self.kind}-{self.issuer_id}-{self.number_year}-{self.sequence:08}.json"

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Key":
        """Return the key of a document."""
        return cls(*(document[name] for name in cls._fields))


class IssuedFiles:
    """The directory and the key that signs.

    Parameters
    ----------
    directory
        Is made when the first document is issued.
    key_file
        The private key, in PEM. It is made with the mode 0600 when the first document is issued.
    """

    def __init__(self, directory: Path, key_file: Path) -> None:
        self.directory = directory
        self.key_file = key_file
        self._key: Ed25519PrivateKey | None = None

    def keys(self) -> set[Key]:
        """Return which documents the directory has. It need not exist.

        Raises
        ------
        StoreError
            It cannot be read.
        """
        try:
            names = [path.name for path in self.directory.iterdir()]
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StoreError(
                f"the directory of issued documents cannot be read: {os_reason(error)}"
            ) from None
        found = (NAME.fullmatch(name) for name in names)
        return {Key(each[1], int(each[2]), int(each[3]), int(each[4])) for each in found if each}

    def prepare(self) -> None:
        """Make the directory and the key if they are missing, and see that a file can be written.

        Raises
        ------
        ConfigurationError
            That is not possible, or the key is missing and documents were signed with it.
        MissingExtra
            The package cryptography is not installed.
        """
        if find_spec("cryptography") is None:
            raise MissingExtra(f"cryptography is not installed: {resources.how_to_add('billing')}")
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            with tempfile.NamedTemporaryFile(dir=self.directory, prefix=".try-"):
                pass
        except OSError as error:
            raise ConfigurationError(
                f"the directory of issued documents cannot be written: {os_reason(error)}: set billing_directory"
            ) from None
        self._key = self._read_key() if self.key_file.exists() else self._make_key()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process write into the directory meanwhile: also one that works on another database.

        Raises
        ------
        StoreError
            Another one does.
        """
        try:
            descriptor = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT, MODE)
        except OSError as error:
            raise StoreError(
                f"the directory of issued documents cannot be locked: {os_reason(error)}"
            ) from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(
                    f"another process writes into {self.directory}: on its machine `fuser {self.directory / LOCK}` "
                    "names it"
                ) from None
            yield
        finally:
            os.close(descriptor)

    def write(
        self, documents: Iterable[dict[str, Any]], *, still_alone: Callable[[], object] = lambda: None
    ) -> list[Path]:
        """Write documents, in the order of their numbers. Return the files. All are on the disk afterwards.

        Each is written under another name first, and linked to its own when all are on the disk. A link replaces no
        file. Links reach the disk in their order on a journaling file system, so a power cut leaves no gap among the
        numbers. If one cannot be written, none stays.

        Parameters
        ----------
        still_alone
            Is called before the first link. It raises if the transaction that gives the numbers cannot commit any more.

        Raises
        ------
        StoreError
            The disk is full, or there is a file of that number already.
        """
        made: list[tuple[Path, Path]] = []
        done: list[Path] = []
        try:
            for document in documents:
                path = self.directory / Key.of(document).file_name
                if path.exists():
                    raise StoreError(
                        f"{path} is there already: `radmeter billing reconcile` compares it with the database"
                    )
                made.append((self._written(document), path))
            still_alone()
            for temporary, path in made:
                os.link(temporary, path)
                done.append(path)
            for temporary, _ in made:
                temporary.unlink()
            self._sync()
        except BaseException as error:
            # The transaction has not committed, so these numbers were not given out.
            for path in [*reversed(done), *(temporary for temporary, _ in made)]:
                path.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):
                raise StoreError(
                    f"{error.filename2} was written by another process meanwhile: run `radmeter billing reconcile`"
                ) from None
            if isinstance(error, OSError):
                raise StoreError(f"an issued document cannot be written: {os_reason(error)}") from None
            raise
        return done

    def read(self, key: Key) -> dict[str, Any]:
        """Return a document, if its file is as it was signed.

        Raises
        ------
        BadFile
            It is another one. The message names the file.
        """
        path = self.directory / key.file_name
        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise BadFile(f"{path} is too large for a document")
            content = json.loads(path.read_bytes())
            document, signature = content["document"], base64.b64decode(content["signature"], validate=True)
        except OSError as error:
            raise BadFile(f"{path} cannot be read: {os_reason(error)}") from None
        except (ValueError, KeyError, TypeError):
            raise BadFile(f"{path} is not a signed document: it was changed") from None
        if not self._is_signed(canonical(document), signature):
            raise BadFile(f"{path} was changed: its signature is not that of the document")
        if Key.of(document) != key:
            raise BadFile(f"{path} has another document: {document.get('number')}")
        return dict(document)

    def documents(self, keys: Iterable[Key]) -> Iterator[dict[str, Any]]:
        """Yield documents in the order of their numbers."""
        for key in sorted(keys):
            yield self.read(key)

    def _written(self, document: dict[str, Any]) -> Path:
        assert self._key is not None
        text = canonical(document)
        signature = base64.b64encode(self._key.sign(text)).decode()
        descriptor, name = tempfile.mkstemp(dir=self.directory, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, MODE)
                file.write(b'{"document":' + text + b',"signature":"' + signature.encode() + b'"}\n')
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    def _sync(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _is_signed(self, text: bytes, signature: bytes) -> bool:
        if self._key is None:
            self._key = self._read_key()
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.public_key().verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def _read_key(self) -> "Ed25519PrivateKey":
        if find_spec("cryptography") is None:
            raise MissingExtra(f"cryptography is not installed: {resources.how_to_add('billing')}")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        what = f"the key of issued documents {self.key_file}"
        if not self.key_file.exists():
            raise ConfigurationError(
                f"{what} is missing: copy it from the machine that has it, or from a backup (billing_key_file)"
            )
        try:
            found = load_pem_private_key(read_secret(self.key_file, what), None)
        except (ValueError, TypeError):
            raise ConfigurationError(f"{what} cannot be used: it is no private key in PEM") from None
        if not isinstance(found, Ed25519PrivateKey):
            raise ConfigurationError(f"{what} cannot be used: it is no Ed25519 key")
        return found

    def _make_key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )

        if self.keys():
            # A new key could not tell a changed file from one that the old key has signed.
            return self._read_key()
        made = Ed25519PrivateKey.generate()
        public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            self.key_file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self.key_file, private, 0o600)
            write_durably(self.directory / PUBLIC_KEY, public, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the key of issued documents cannot be written: {os_reason(error)}"
            ) from None
        return made


def canonical(document: dict[str, Any]) -> bytes:
    """Return the text that is signed: the same document has the same bytes."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
