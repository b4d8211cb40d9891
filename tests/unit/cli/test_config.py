"""`radmeter config` in a terminal."""

import os
import sys
from pathlib import Path

import pexpect
import pytest
from support.commands import radmeter

from radmeter.cli.config import COLUMNS
from radmeter.plugin.config_file import default_state


def shown(columns: int) -> list[str]:
    command = pexpect.spawn(
        sys.executable,
        ["-P", "-m", "radmeter", "config"],
        dimensions=(50, columns),
        env={
            **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
            "RADMETER_SYNC": "interval",
            "RADMETER_STATE": "/var/lib/radmeter",
            "NO_COLOR": "1",
        },
        encoding="utf-8",
        timeout=60,
    )
    command.expect(pexpect.EOF)
    command.close()
    assert command.exitstatus == 0
    return str(command.before).replace("\r", "").splitlines()


@pytest.mark.parametrize("columns", [80, 132])
def test_a_narrow_terminal_breaks_no_name_and_no_value(columns: int) -> None:
    lines = shown(columns)
    assert f"state = /var/lib/radmeter  (RADMETER_STATE, default {default_state()})" in lines
    assert "sync = interval  (RADMETER_SYNC, default packet)" in lines
    assert "session_packets_per_second = 5  (default)" in lines
    # Names of directories are as long as they are.
    assert [line for line in lines if len(line) > columns and str(default_state()) not in line] == []


def test_a_wide_terminal_has_a_table() -> None:
    header = next(line for line in shown(200) if "variable" in line)  # in bold
    assert [name for name in COLUMNS if name not in header] == []


def test_the_file_is_named_before_or_after_the_command_or_by_the_variable(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("before", "after", "variable")}
    for name, path in files.items():
        path.write_text(f'journal = "/srv/{name}"\n[config]\nbatch_ms = 7\n')
    before, after = (("--config", files[name]) for name in ("before", "after"))
    for arguments, source, wanted in (
        (("config",), "RADMETER_CONFIG", "variable"),
        ((*before, "config"), "--config", "before"),
        (("config", *after), "--config", "after"),
        ((*before, "config", *after), "--config", "after"),
    ):
        shown = radmeter(
            None,
            *arguments,
            "--format=json",
            RADMETER_CONFIG=str(files["variable"]),
            RADMETER_JOURNAL="",
        ).json()
        rows = {row["name"]: (row["value"], row["source"]) for row in shown}
        assert rows["config"] == (str(files[wanted]), source)
        assert rows["journal"] == (f"/srv/{wanted}", str(files[wanted]))
        assert rows["batch_ms"] == ("7", f"{files[wanted]} [config]")
        assert rows["timezone"] == ("UTC", "default")


def test_a_command_that_is_misspelt_in_the_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text("[hsip]\n")
    done = radmeter("host=db.invalid", "status", "--config", file)
    assert (done.exit_code, done.errors) == (
        2,
        f"error: {file}: no command has the table [hsip]; the nearest is ship\n",
    )


def test_the_trial_does_not_read_the_file_of_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "radmeter.toml"
    installed.write_text('journal = "relative"\n')
    monkeypatch.setattr("radmeter.plugin.config_file.checkout", lambda *_: None)
    monkeypatch.setattr("radmeter.cli.config_option.checkout", lambda *_: None)
    monkeypatch.setattr("radmeter.plugin.config_file.INSTALLED_FILE", installed)
    refused = f"error: {installed}: journal 'relative': allowed is an absolute path\n"
    assert radmeter(None, "ship", RADMETER_JOURNAL="").errors == refused
    monkeypatch.setattr("radmeter.trial.up.run", lambda settings, *_: 0 if settings.file is None else 1)
    assert radmeter(None, "up", RADMETER_JOURNAL="").exit_code == 0
    assert radmeter(None, "up", "--config", installed, RADMETER_JOURNAL="").errors.endswith(
        f"{installed}: journal 'relative': allowed is an absolute path\n"
    )
