"""The command that gives a setting another value: it changes what is in force, and can be pasted."""

from pathlib import Path

import pytest
from support.doctoring import fault_of, paste

from radmeter.config import Settings
from radmeter.doctor.commands import Commands
from radmeter.doctor.facts import DatabaseFacts


def remedy(
    settings: Settings, name: str, value: str | int, service: str = "radmeter-ship"
) -> tuple[str, str]:
    command, note = Commands(settings=settings, dsn=None, facts=DatabaseFacts()).setting(name, value, service)
    assert fault_of(command, note) is None
    return command.replace("sudo ", ""), note


def command(settings: Settings, name: str, value: str | int) -> str:
    command, note = remedy(settings, name, value)
    assert note == ""
    return command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "timezone = 'UTC'\n",
        "journal = '/old'\ntimezone = 'UTC'\n",
        "# comment\n  journal  =  '/old' # why\n[ship]\nbatch_ms = 5",
    ],
)
@pytest.mark.parametrize("journal", ["/srv/new", "/srv/a b'c$d\\\\e"])
def test_the_configuration_file_gets_the_new_value(tmp_path: Path, text: str, journal: str) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text(text)
    settings = Settings.load({}, config=str(file))
    paste(command(settings, "journal", journal))
    assert Settings.load({}, config=str(file)).journal == Path(journal)
    assert "batch_ms = 5" in file.read_text() or "batch_ms" not in text


def test_a_value_in_a_table_is_replaced_for_all(tmp_path: Path) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text("kept_bytes = 1\n[ship]\nkept_bytes = 2\n")
    paste(command(Settings.load({}, config=str(file)), "kept_bytes", 3))
    assert Settings.load({}, config=str(file), program="ship").kept_bytes == 3


@pytest.mark.parametrize("has_unit", [True, False])
def test_what_wins_over_the_file_is_named_and_the_service_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_unit: bool
) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text("journal = '/old'\n")
    if has_unit:
        (tmp_path / "radmeter-ship.service").touch()
    monkeypatch.setattr("radmeter.doctor.commands.UNIT_DIRECTORIES", (tmp_path,))
    by_variable = Settings.load({"RADMETER_JOURNAL": "/x"}, config=str(file))
    by_option = Settings.load({}, config=str(file), journal="/x")
    for settings, named in ((by_variable, "RADMETER_JOURNAL"), (by_option, "--journal")):
        command, note = remedy(settings, "journal", '/srv/a "b"')
        assert command == ("systemctl restart radmeter-ship" if has_unit else "")
        assert f'`journal = "/srv/a \\"b\\""` above the tables of {file}' in note
        assert f"remove {named}:" in note
        # So it is repaired: the line is in the file, and nothing wins over it.
    file.write_text('journal = "/srv/a \\"b\\""\n')
    assert Settings.load({}, config=str(file)).journal == Path('/srv/a "b"')


def test_where_no_file_is_read_one_must_be_named() -> None:
    for settings, named in (
        (Settings.load({}, config="/dev/null"), "--config"),
        (Settings.load({"RADMETER_CONFIG": "/dev/null"}), "RADMETER_CONFIG"),
    ):
        command, note = remedy(settings, "kept_bytes", 7, "no-such-service")
        assert (command, note) == (
            "",
            f"First name a configuration file by {named}, and write `kept_bytes = 7` into it.",
        )


def test_the_journal_of_another_state_directory_is_replaced_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text("timezone = 'UTC'\n")
    environ = {"RADMETER_STATE": "/x"}
    paste(command(Settings.load(environ, config=str(file)), "journal", "/srv"))
    assert Settings.load(environ, config=str(file)).journal == Path("/srv")


@pytest.mark.parametrize("is_checkout", [True, False])
def test_an_installation_without_a_file_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_checkout: bool
) -> None:
    root = tmp_path if is_checkout else None
    file = tmp_path / ("var" if is_checkout else "etc") / "radmeter.toml"
    monkeypatch.setattr("radmeter.plugin.config_file.checkout", lambda *_: root)
    monkeypatch.setattr("radmeter.plugin.config_file.INSTALLED_FILE", tmp_path / "etc" / "radmeter.toml")
    assert Settings.load({}).file is None
    paste(command(Settings.load({}), "journal", "/srv"))
    assert Settings.load({}).file == file
    assert Settings.load({}).journal == Path("/srv")
