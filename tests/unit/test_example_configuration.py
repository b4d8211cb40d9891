"""deploy/radmeter.toml: every setting with its meaning and its default, and nothing that the programs do not take."""

import re
import tomllib
from pathlib import Path

import pytest

from radmeter.cli.main import cli
from radmeter.config import ALL, Settings
from radmeter.plugin.config_file import KEYS
from radmeter.plugin.settings import read_settings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "radmeter.toml"
TEXT = EXAMPLE.read_text()
# What a commented line would say.
SETTING = re.compile(r"^#(?=\w+ = )", re.MULTILINE)
# The programs that have a table, and their roles.
PROGRAMS = {"ship": "radmeter_shipper", "jobs": "radmeter_jobs", "serve": "radmeter_http"}
INSTALLED = Path("/usr/lib/radmeter/python/radmeter")


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    """The example with the passwords of the services in files of the test."""
    path = tmp_path / "radmeter.toml"
    path.write_text(re.sub("/etc/radmeter/(secrets|http)", str(tmp_path), TEXT))
    path.chmod(0o644)
    for name in (*PROGRAMS.values(), "radmeter_operator", "radius"):
        (tmp_path / name).write_text(f"of {name}\n")
    return path


def test_each_setting_is_there_once_below_its_meaning() -> None:
    above = TEXT.partition("\n[")[0]
    found = dict(re.findall(r"((?:^# .*\n)+)^#?(\w+) = ", above, re.MULTILINE))
    meanings = {
        name: " ".join(re.sub(r"^# ", "", text, flags=re.MULTILINE).split()) for text, name in found.items()
    }
    assert {name: text.casefold() for name, text in meanings.items()} == {
        setting.name: f"{setting.meaning}.".casefold() for setting in ALL
    }


def test_a_setting_in_a_comment_has_its_default() -> None:
    values = tomllib.loads(SETTING.sub("", TEXT))
    assert values.keys() - PROGRAMS.keys() == KEYS
    for setting in ALL:
        if setting.name == "state":
            assert values["state"] == "/var/lib/radmeter"
        elif setting.default:
            assert str(values[setting.name]) == setting.default.replace("$RADMETER_STATE", values["state"])


def test_as_it_is_the_services_have_their_own_roles_and_all_else_is_as_without_it(passwords: Path) -> None:
    given = tomllib.loads(TEXT)
    assert given.keys() == PROGRAMS.keys()
    for program, role in PROGRAMS.items():
        settings = Settings.load({}, config=str(passwords), program=program, programs=cli.list_commands(None))  # type: ignore[arg-type] # no context
        assert settings.dsn is not None
        assert f"user={role} " in settings.dsn
        assert f"password='of {role}'" in settings.dsn
        assert {settings.source(name) for name in KEYS - {"dsn", "password_file"}} == {"default"}
    assert Settings.load({}, config=str(passwords), program="status").dsn is None


def test_with_all_of_it_in_force_every_program_takes_it(passwords: Path) -> None:
    passwords.write_text(SETTING.sub("", passwords.read_text()))
    with pytest.raises(Exception, match="secret: every user of this machine can read the file"):
        Settings.load({}, config=str(passwords))
    passwords.chmod(0o640)
    settings = Settings.load({}, config=str(passwords), program="status")
    assert settings.dsn is not None
    assert "user=radmeter_operator" in settings.dsn
    assert settings.secret == "of radius"
    assert {settings.source(name) for name in KEYS} == {str(passwords)}
    ours = read_settings({}, {"RADMETER_CONFIG": str(passwords)}, INSTALLED)
    assert ours.journal == str(settings.journal) == "/var/lib/radmeter/journal"
    assert ours == read_settings({}, {"RADMETER_CONFIG": str(passwords)})
