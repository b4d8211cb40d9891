"""The command that gives a setting another value: it changes what is in force, and can be pasted."""

from pathlib import Path

import pytest
from support.doctoring import fault_of, paste

from radmeter.config import Settings
from radmeter.doctor.commands import Commands
from radmeter.doctor.facts import DatabaseFacts


def command(settings: Settings, name: str, value: str | int) -> str:
    text = Commands(settings=settings, dsn=None, facts=DatabaseFacts()).setting(name, value)
    assert fault_of(text, "") is None
    return text.replace("sudo ", "")


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


def test_a_variable_wins_over_the_file_and_is_set_instead(tmp_path: Path) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text("journal = '/old'\n")
    for environ in ({"RADMETER_JOURNAL": "/x"}, {"RADMETER_STATE": "/x"}):
        settings = Settings.load(environ, config=str(file))
        if settings.source("journal") == "RADMETER_JOURNAL":
            assert command(settings, "journal", "/srv/a b") == "export RADMETER_JOURNAL='/srv/a b'"
        else:
            assert command(settings, "journal", "/srv").startswith("sed ")
    assert (
        command(Settings.load({"RADMETER_STATE": "/x"}), "journal", "/srv") == "export RADMETER_JOURNAL=/srv"
    )


def test_an_installation_without_a_file_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "etc" / "radmeter.toml"
    monkeypatch.setattr("radmeter.plugin.config_file.checkout", lambda *_: None)
    monkeypatch.setattr("radmeter.doctor.commands.checkout", lambda: None)
    monkeypatch.setattr("radmeter.plugin.config_file.INSTALLED_FILE", file)
    assert Settings.load({}).file is None
    paste(command(Settings.load({}), "journal", "/srv"))
    assert Settings.load({}).journal == Path("/srv")
