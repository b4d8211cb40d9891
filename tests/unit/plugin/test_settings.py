"""The plugin's settings: the least and the most of each number, their defaults, and where a journal may be."""

import inspect
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from radmeter.errors import ConfigurationError
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.plugin.settings import LIMITS, check_place, read_settings

ALLOWED = {
    "sync_interval_ms": (1, 60_000),
    "segment_bytes": (65_536, 1_099_511_627_776),
    "journal_limit_bytes": (1_048_576, 1_125_899_906_842_624),
    "client_packets_per_second": (0, 1_000_000),
    "session_packets_per_second": (0, 1_000_000),
    "quarantine_limit_bytes": (0, 1_125_899_906_842_624),
}


def test_every_number_has_its_limits_here() -> None:
    assert set(ALLOWED) == set(LIMITS)


@pytest.mark.parametrize("name", ALLOWED)
def test_the_least_and_the_most_of_a_number_are_allowed_and_nothing_beyond(name: str) -> None:
    least, most = ALLOWED[name]
    for value in (least, most):
        assert getattr(read_settings({name: str(value)}), name) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigurationError, match=f"a whole number from {least} to {most}"):
            read_settings({name: str(value)})


def test_the_writer_has_the_same_defaults() -> None:
    settings = read_settings({})
    defaults = {name: of.default for name, of in inspect.signature(JournalWriter).parameters.items()}
    assert defaults["sync"] == settings.sync
    assert defaults["interval_seconds"] == settings.sync_interval_ms / 1000
    assert defaults["segment_bytes"] == settings.segment_bytes
    assert defaults["limit_bytes"] == settings.journal_limit_bytes


def test_settings_that_are_in_force_stay_as_they_are() -> None:
    settings = read_settings({})
    with pytest.raises(FrozenInstanceError):
        settings.sync = "interval"  # type: ignore[misc]


def test_a_journal_may_be_made_any_number_of_directories_deep(tmp_path: Path) -> None:
    check_place(str(tmp_path / "var" / "lib" / "journal"))
    check_place(str(tmp_path))
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "journal"):
        with pytest.raises(ConfigurationError, match=f"{tmp_path / 'file'} is not a directory"):
            check_place(str(place))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
