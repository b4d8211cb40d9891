"""How the private FreeRADIUS is run, and the errors if it cannot be run."""

from pathlib import Path

import pytest

from radmeter.config import Settings
from radmeter.errors import ConfigurationError
from radmeter.freeradius import installed as installed_server
from radmeter.freeradius import private_server


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a system that has only a `radiusd` and its Python module."""
    binaries, libraries = tmp_path / "sbin", tmp_path / "lib"
    binaries.mkdir()
    libraries.mkdir()
    program = binaries / "radiusd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (libraries / "rlm_python3.so").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(installed_server, "PROGRAM_DIRECTORIES", (str(binaries),))
    return tmp_path


def test_the_program_is_found_outside_an_ordinary_users_path(installed: Path) -> None:
    server = private_server.prepare(installed / "run", Settings.load({}))
    assert server.command[0] == str(installed / "sbin" / "radiusd")
    assert (installed / "run").is_dir()


def test_the_settings_are_handed_over(installed: Path) -> None:
    settings = Settings.load(
        {},
        journal="/j",
        sync="interval",
        sync_interval_ms=7,
        segment_bytes=1 << 20,
        journal_limit_bytes=1 << 21,
        scheduling="short",
        acct_host="::1",
        acct_port=2000,
        secret="s'$ecret",
        dsn="postgresql://u:hidden@db/x",
    )
    environment = private_server.prepare(installed / "run", settings).environment
    assert environment == {
        "RADMETER_CONFIG": "/dev/null",
        "RADMETER_RUN": str(installed / "run"),
        "RADMETER_PYTHON_PATH": str(Path(private_server.__file__).parents[2]),
        "RADMETER_JOURNAL": "/j",
        "RADMETER_SYNC": "interval",
        "RADMETER_SYNC_INTERVAL_MS": "7",
        "RADMETER_SEGMENT_BYTES": str(1 << 20),
        "RADMETER_CLIENT_PACKETS_PER_SECOND": "5000",
        "RADMETER_SESSION_PACKETS_PER_SECOND": "5",
        "RADMETER_QUARANTINE_LIMIT_BYTES": str(64 << 20),
        "RADMETER_SCHEDULING": "short",
        "RADMETER_JOURNAL_LIMIT_BYTES": str(1 << 21),
        "RADIUS_ACCT_HOST": "::1",
        "RADIUS_ACCT_PORT": "2000",
        "RADIUS_SECRET": "s'$ecret",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def test_what_to_install_is_said_without_freeradius(installed: Path) -> None:
    (installed / "sbin" / "radiusd").unlink()
    with pytest.raises(
        ConfigurationError, match=r"FreeRADIUS is not installed.*freeradius freeradius-python3"
    ):
        private_server.prepare(installed / "run", Settings.load({}))


def test_what_to_install_is_said_without_its_python_module(installed: Path) -> None:
    (installed / "lib" / "rlm_python3.so").unlink()
    with pytest.raises(ConfigurationError, match=r"rlm_python3.so.*freeradius freeradius-python3"):
        private_server.prepare(installed / "run", Settings.load({}))


def test_a_run_directory_that_cannot_be_made_is_said(installed: Path) -> None:
    (installed / "run").touch()
    with pytest.raises(ConfigurationError, match="run directory"):
        private_server.prepare(installed / "run", Settings.load({}))
