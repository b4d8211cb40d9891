"""The configuration file: where it is looked for, what it may say, and what is an error that names the remedy."""

import os
from pathlib import Path

import click
import pytest

from radmeter.cli.main import cli
from radmeter.config import ALL
from radmeter.errors import ConfigurationError
from radmeter.plugin import config_file
from radmeter.plugin.settings import DEFAULTS

INSTALLED = Path("/opt/radmeter/lib/python3.11/site-packages/radmeter")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "radmeter.toml"


def values(file: Path, program: str | None = None) -> dict[str, tuple[str, str]]:
    read = config_file.in_force(str(file), {}, program=program, programs=("ship", "jobs", "journal"))
    assert read is not None
    return {key: (given.text, given.source) for key, given in read.values.items()}


def test_its_keys_are_the_settings_and_radiusd_reads_those_that_no_table_may_have() -> None:
    assert {setting.name for setting in ALL} == config_file.KEYS
    # The quarantine file is named beside rlm_detail, which writes it.
    assert {"state", *DEFAULTS} - {"quarantine"} == config_file.SHARED


def test_a_checkout_has_its_own_file_and_state(tmp_path: Path) -> None:
    package = tmp_path / "src" / "radmeter"
    assert config_file.default_file(package) == Path("/etc/radmeter/radmeter.toml")
    (tmp_path / "pyproject.toml").touch()
    assert config_file.default_file(package) == tmp_path / "var" / "radmeter.toml"
    assert config_file.default_state(package) == tmp_path / "var"
    assert config_file.default_file(INSTALLED) == Path("/etc/radmeter/radmeter.toml")
    assert config_file.default_state(INSTALLED) == Path("/var/lib/radmeter")


def test_an_option_wins_over_the_variable_and_that_over_the_usual_place(tmp_path: Path) -> None:
    package = tmp_path / "src" / "radmeter"
    (tmp_path / "pyproject.toml").touch()
    assert config_file.in_force(None, {}, package) is None
    places = {
        "usual": tmp_path / "var" / "radmeter.toml",
        "variable": tmp_path / "a",
        "option": tmp_path / "b",
    }
    (tmp_path / "var").mkdir()
    for text, path in places.items():
        path.write_text(f'timezone = "{text}"')
    environ = {"RADMETER_CONFIG": str(places["variable"])}
    for option, variables, wanted in (
        (None, {}, "usual"),
        (None, {"RADMETER_CONFIG": ""}, "usual"),
        (None, environ, "variable"),
        (str(places["option"]), environ, "option"),
    ):
        read = config_file.in_force(option, variables, package)
        assert read is not None
        assert (read.path, read.values["timezone"].text) == (places[wanted], wanted)
    assert config_file.in_force("/dev/null", environ, package) is None
    assert config_file.in_force(None, {"RADMETER_CONFIG": "/dev/null"}, package) is None


def test_a_table_is_for_its_program_only_and_an_empty_value_is_none(file: Path) -> None:
    file.write_text(
        'dsn = "all"\nkept_hours = 24\ntimezone = ""\n[ship]\ndsn = "ship"\npassword_file = "/p"\n[jobs]\n'
    )
    above = {"dsn": ("all", str(file)), "kept_hours": ("24", str(file))}
    assert values(file) == values(file, "jobs") == above
    assert values(file, "ship") == above | {
        "dsn": ("ship", f"{file} [ship]"),
        "password_file": ("/p", f"{file} [ship]"),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jurnal = '/srv'", "unknown key 'jurnal'; the nearest is journal"),
        ("[ship]\nbatch_sm = 5", "unknown key 'batch_sm'; the nearest is batch_ms"),
        ("xyzzy = 1", "unknown key 'xyzzy'; known are acct_host, acct_port, alerts_file"),
        ("[shp]\nbatch_ms = 5", "no command has the table [shp]; the nearest is ship"),
        # A line that was added at the end of the file.
        (
            "[ship]\nbatch_ms = 5\njournal = '/srv'",
            "journal is below [ship], but it is the same for all programs",
        ),
        # `radmeter journal` is a command, too.
        ("[journal]\nkept_hours = 1", "journal must be text or a whole number"),
        (
            "journal = /srv",
            "is not TOML: Invalid value (at line 1, column 11). Text is written between quotes",
        ),
        ("timezone = true", "timezone must be text or a whole number"),
        ("kept_hours = 1.5", "kept_hours must be text or a whole number"),
        ("[[ship]]\nbatch_ms = 5", "unknown key 'ship'"),
        ("batch_ms = 1\nbatch_ms = 2", "is not TOML: Cannot overwrite a value"),
        ("batch_ms = " + 5000 * "1", "is not TOML: "),
        ("batch_ms = " + 5000 * "[", "is not TOML: "),
        ("batch_ms = 0x" + 5000 * "f", "batch_ms is too large a number"),
        ('journal = "/srv/a\\u0000b"', "journal must have no NUL character"),
        (200_000 * "k" + " = 1", f"unknown key '{80 * 'k'}..'; known are acct_host"),
        ("[" + 200_000 * "k" + "]\nbatch_ms = 1", f"no command has the table [{80 * 'k'}..]; known are"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        values(file)
    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)


def test_a_database_of_a_table_has_no_standby_and_no_password_of_another(file: Path) -> None:
    file.write_text(
        'dsn = "a"\npassword_file = "/a"\nread_dsn = "standby-a"\n[ship]\ndsn = "b"\n[jobs]\ndsn = "c"\n'
        'password_file = "/c"\n'
    )
    read = {
        program: {key: text for key, (text, _) in values(file, program).items()} for program in (None, "ship")
    }
    above = {"dsn": "a", "password_file": "/a", "read_dsn": "standby-a"}
    assert read == {None: above, "ship": {"dsn": "b"}}
    assert {key: text for key, (text, _) in values(file, "jobs").items()} == {
        "dsn": "c",
        "password_file": "/c",
    }
    file.write_text('dsn = "a"\npassword_file = "/a"\n[ship]\ndsn = ""\n')
    assert values(file, "ship") == {}  # the empty value takes the dsn away, too


def test_the_plugin_knows_which_commands_may_have_a_table() -> None:
    assert set(cli.list_commands(click.Context(cli))) == config_file.COMMANDS


def test_a_file_that_cannot_be_read_is_an_error_with_what_names_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", config_file.LARGEST_BYTES + 1)
    for path, said in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "not a regular file"),
        (tmp_path / "fifo", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "large", "more than 1048576 bytes"),
    ):
        for option, environ in ((str(path), {}), (None, {"RADMETER_CONFIG": str(path)})):
            named = "--config" if option else "RADMETER_CONFIG"
            with pytest.raises(ConfigurationError) as caught:
                config_file.in_force(option, environ)
            assert str(caught.value).startswith(f"{named}: {path} cannot be read: ")
            assert said in str(caught.value)
    (tmp_path / "bytes").write_bytes(b"dsn = '\xff'")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        config_file.in_force(str(tmp_path / "bytes"), {})


def test_a_log_says_where_settings_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_file.described(Path("/srv/radmeter.toml")) == "configuration /srv/radmeter.toml"
    monkeypatch.delenv("RADMETER_CONFIG", raising=False)
    assert config_file.described(None) == "no configuration file"
    # As `radmeter up` starts programs: it has read the file.
    monkeypatch.setenv("RADMETER_CONFIG", "/dev/null")
    assert config_file.described(None) == (
        "settings from the environment alone (`radmeter up` puts those of its file there)"
    )
