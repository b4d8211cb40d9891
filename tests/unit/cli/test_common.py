"""The output of commands: exact numbers for programs, readable and harmless text for people."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from radmeter.cli import common
from radmeter.config import Settings
from radmeter.errors import StoreError
from radmeter.units import compact_volume, disk_size, volume

NOON = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.UTC)
ROW = {
    "username": "alice",
    "bytes_in": 9007199254740993,  # 2^53 + 1: a float would lose the last byte
    "bytes_total": Decimal(2**63),
    "price": Decimal("1.50"),
    "day": NOON.date(),
    "at": NOON,
    "nothing": None,
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (5 * 1024**3, "5.00 GiB"),
        (Decimal(2**63), "8.00 EiB"),
        (-2048, "-2.00 KiB"),
        (2**80, "1048576.00 EiB"),
    ],
)
def test_what_lies_on_a_disk_is_in_powers_of_1024(count: int | Decimal | None, text: str) -> None:
    assert disk_size(count) == text


@pytest.mark.parametrize(
    ("count", "text", "compact"),
    [
        (None, "-", "-"),
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1000, "1.00 kB", "1.00 kB"),
        (5_000_000, "5.00 MB", "5.00 MB"),
        (999_994_999, "999.99 MB", "1.00 GB"),
        (999_995_000, "1.00 GB", "1.00 GB"),
        (4 * 2**30, "4.29 GB", "4.29 GB"),
        (938_760_000_000, "938.76 GB", "939 GB"),
        (Decimal(2**63), "9.22 EB", "9.22 EB"),
        (-2048, "-2.05 kB", "-2.05 kB"),
        (10**24, "1000000.00 EB", "1000000 EB"),
    ],
)
def test_what_users_carried_is_in_powers_of_1000(
    count: int | Decimal | None, text: str, compact: str
) -> None:
    assert (volume(count), compact_volume(count)) == (text, compact)


def test_json_has_exact_bytes_as_integers_and_times_in_iso_8601(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit([ROW], "json", columns=list(ROW))
    assert json.loads(capsys.readouterr().out) == [
        {
            "username": "alice",
            "bytes_in": 9007199254740993,
            "bytes_total": 9223372036854775808,
            "price": "1.50",
            "day": "2026-11-20",
            "at": "2026-11-20T12:00:00+00:00",
            "nothing": None,
        }
    ]


def test_csv_has_a_header_and_exact_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit([ROW, {**ROW, "username": 'a "b", c'}], "csv", columns=["username", "bytes_total", "nothing"])
    assert capsys.readouterr().out == (
        'username,bytes_total,nothing\nalice,9223372036854775808,\n"a ""b"", c",9223372036854775808,\n'
    )


def test_a_table_has_human_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit([ROW], "table", columns=["username", "bytes_in", "day"], title="what it is about")
    title, header, line = capsys.readouterr().out.splitlines()
    assert title == "what it is about"
    assert header.split() == ["username", "bytes", "in", "day"]
    assert line.split() == ["alice", "9.01", "PB", "2026-11-20"]


def test_no_rows_are_an_empty_array_and_a_lone_header(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit([], "json", columns=["username"])
    common.emit([], "csv", columns=["username"])
    assert capsys.readouterr().out == "[]\nusername\n"


def test_names_from_packets_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"username": "[bold]\x1b[2Jeve\r\nroot\u202e", "bytes_in": 0}
    common.emit([row], "table", columns=["username", "bytes_in"])
    common.emit_one(row, "table", columns=["username", "bytes_in"])
    table, one = capsys.readouterr().out.split("0 B")[:2]
    for text in table, one:
        assert r"[bold]\u001b[2Jeve\u000d\u000aroot\u202e" in text
        assert "\x1b" not in text


def test_one_thing_is_a_json_object_and_one_line_of_csv(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit_one(ROW, "json", columns=["username", "bytes_in"])
    assert json.loads(capsys.readouterr().out) == {"username": "alice", "bytes_in": 9007199254740993}
    common.emit_one(ROW, "csv", columns=["username", "bytes_in"])
    assert capsys.readouterr().out == "username,bytes_in\nalice,9007199254740993\n"


@click.command()
@common.with_settings("state", "batch_records")
@click.argument("name", type=common.TEXT)
def show(settings: Settings, name: str) -> None:
    """Print the settings in force."""
    click.echo(f"{name} {settings.batch_records} {settings.source('batch_records')}")


def test_an_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADMETER_BATCH_RECORDS", "7")
    assert CliRunner().invoke(show, ["x"]).output == "x 7 RADMETER_BATCH_RECORDS\n"
    assert CliRunner().invoke(show, ["x", "--batch-records", "8"]).output == "x 8 --batch-records\n"


def test_an_argument_that_is_no_text_is_a_usage_error() -> None:
    done = CliRunner().invoke(show, ["\udcff"])
    assert done.exit_code == 2
    assert "is not UTF-8" in done.output


def test_reading_does_not_make_a_database(tmp_path: Path) -> None:
    settings = Settings.load({"RADMETER_STATE": str(tmp_path / "state")})
    with pytest.raises(StoreError, match="radmeter up"), common.existing_database(settings):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_the_operators_is_used_as_given() -> None:
    with common.existing_database(Settings.load({"RADMETER_DSN": "host=db.example"})) as dsn:
        assert dsn == "host=db.example"


@pytest.mark.parametrize(("output_format", "expected"), [
    ("json", '"two": [\n      "a",\n      1\n    ],'),
    ("csv", 'two,none\n"a, 1",\n'),
    ("table", "a, 1"),
])  # fmt: skip
def test_several_values_are_no_text_of_python(
    capsys: pytest.CaptureFixture[str], output_format: str, expected: str
) -> None:
    common.emit([{"two": ("a", 1), "none": ()}], output_format, columns=("two", "none"))
    shown = capsys.readouterr().out
    assert expected in shown
    assert "(" not in shown


def test_what_is_true_or_not_is_yes_or_no_for_people_and_python_s_own_word_nowhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"name": "lobby", "takes_coa": True}, {"name": "pool", "takes_coa": False}]
    columns = ("name", "takes_coa")
    common.emit(rows, "table", columns=columns)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["lobby", "yes"],
        ["pool", "no"],
    ]
    common.emit_one(rows[1], "table", columns=columns)
    assert capsys.readouterr().out.splitlines()[1].split() == ["takes", "coa", "no"]
    # For programs it is as it was.
    common.emit(rows, "json", columns=columns)
    assert json.loads(capsys.readouterr().out) == rows
    common.emit(rows, "csv", columns=columns)
    assert capsys.readouterr().out == "name,takes_coa\nlobby,True\npool,False\n"
