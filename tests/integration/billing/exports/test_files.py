"""Where an export goes: a file that is whole or not there, a manifest that is the file's, standard output."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pexpect
import pytest
from support.exported import export, exported, fill, manifest
from support.servers import Connection

from radmeter.billing.exports.target import FileTarget, TargetError

RADMETER = Path(sys.executable).with_name("radmeter")
ASKED = ("billing", "export", "--period", "2026-10", "--what", "router-days")


@pytest.fixture
def filled(database: str, connection: Connection) -> str:
    fill(connection)
    return database


def environment(database: str) -> dict[str, str]:
    return {"RADMETER_DSN": database, "RADMETER_STATE": "/nonexistent", "PATH": os.environ["PATH"]}


def many_routers(connection: Connection, count: int) -> None:
    """Make routers with long names, and a day of each."""
    numbers = f"generate_series(1000, 1000 + {count}) AS n"
    connection.execute(
        f"INSERT INTO public.routers (id, name) SELECT n, repeat('r', 90) || n FROM {numbers}".encode()
    )
    connection.execute(f"""INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
                           SELECT n, '2026-10-10', 1, 1 FROM {numbers}""".encode())  # fmt: skip


def test_a_file_is_replaced_with_its_manifest(filled: str, connection: Connection, tmp_path: Path) -> None:
    """A script runs it each month, or again after a late packet."""
    file = exported(filled, "router-days", "csv", tmp_path / "x.csv")
    before = file.read_bytes()
    connection.execute(
        "UPDATE public.router_daily_usage SET bytes_in = bytes_in + 1 WHERE usage_date = '2026-10-10'"
    )
    assert exported(filled, "router-days", "csv", file).read_bytes() != before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.csv", "x.csv.manifest.json"]


def test_a_symbolic_link_stays_one(filled: str, tmp_path: Path) -> None:
    (tmp_path / "month").mkdir()
    (tmp_path / "x.csv").symlink_to(tmp_path / "month" / "real.csv")
    exported(filled, "invoices", "csv", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").is_symlink()
    assert (tmp_path / "month" / "real.csv").is_file()


def test_the_manifest_goes_where_it_is_told(filled: str, tmp_path: Path) -> None:
    asked = ("--what", "invoices", "-o", tmp_path / "x.csv", "--manifest", tmp_path / "about.json")
    assert export(filled, *asked).exit_code == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["about.json", "x.csv"]
    assert export(filled, *asked[:-1], tmp_path / "x.csv").exit_code == 1


def test_no_manifest_of_another_file_stays_beside_it(filled: str, tmp_path: Path) -> None:
    file = exported(filled, "invoices", "csv", tmp_path / "x.csv")
    asked = ("--what", "user-periods", "-o", file, "--manifest", tmp_path / "about.json")
    assert export(filled, *asked).exit_code == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["about.json", "x.csv"]


def test_neither_has_the_unfinished_name_of_the_other(filled: str, tmp_path: Path) -> None:
    for file, about in (("a.part", "a"), ("a", "a.part")):
        done = export(filled, "--what", "invoices", "-o", tmp_path / file, "--manifest", tmp_path / about)
        assert (done.exit_code, "give the manifest another name" in done.errors) == (1, True), done.errors
    assert list(tmp_path.iterdir()) == []


def test_who_may_read_a_file_that_is_replaced_stays(filled: str, tmp_path: Path) -> None:
    file = exported(filled, "invoices", "csv", tmp_path / "x.csv")
    file.chmod(0o600)
    assert exported(filled, "invoices", "csv", file).stat().st_mode & 0o777 == 0o600


def test_a_pipe_with_the_unfinished_name_is_refused(filled: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv.part")
    assert export(filled, "--what", "invoices", "-o", tmp_path / "x.csv").exit_code == 1
    assert [each.name for each in tmp_path.iterdir()] == ["x.csv.part"]


def test_standard_output_has_the_same_bytes(filled: str, tmp_path: Path) -> None:
    for form in ("csv", "jsonl", "parquet", "xlsx"):
        file = exported(filled, "invoices", form, tmp_path / f"x.{form}")
        done = subprocess.run(
            [RADMETER, "billing", "export", "--period", "2026-10", "--what", "invoices", "--format", form, "-o", "-",
             "--manifest", tmp_path / "about.json"],
            env=environment(filled), capture_output=True, check=True,
        )  # fmt: skip
        assert done.stdout == file.read_bytes()
        said = json.loads((tmp_path / "about.json").read_text())
        assert said["sha256"] == hashlib.sha256(done.stdout).hexdigest() == manifest(file)["sha256"]
        assert said["file"] is None


def test_a_reader_that_goes_away_ends_it_without_a_word(filled: str, connection: Connection) -> None:
    many_routers(connection, 20_000)
    with subprocess.Popen([RADMETER, *ASKED, "-o", "-"], env=environment(filled), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.readline()
        program.stdout.close()
        errors = program.stderr.read()
        assert program.wait(60) == 1
    assert errors == b""


def test_a_terminal_gets_no_control_characters_and_no_file_of_bytes(
    filled: str, connection: Connection
) -> None:
    connection.execute("UPDATE public.routers SET name = E'a\\u001b[2Jb' || id")
    for form, found in (("csv", r"a\\u001b\[2Jb"), ("parquet", "not for a terminal")):
        arguments = [*ASKED, "--format", form, "--raw" * (form == "csv"), "-o", "-"]
        with closing(pexpect.spawn(str(RADMETER), [each for each in arguments if each],
                                   env={**environment(filled), "TERM": "dumb"}, timeout=60)) as program:  # fmt: skip
            program.expect(found)
            assert b"\x1b" not in program.read()


def test_a_place_that_cannot_be_written(filled: str, tmp_path: Path) -> None:
    for file, why in ((tmp_path / "none" / "x.csv", "none': make it with `mkdir -p "), (tmp_path, "not a regular file"),
                      (Path("/dev/null"), "not a regular file")):  # fmt: skip
        done = export(filled, "--what", "invoices", "-o", file)
        assert done.exit_code == 1
        assert why in done.errors
        assert str(file.parent if "mkdir" in why else file) in done.errors
        assert "Traceback" not in done.errors


def test_a_full_disk_leaves_what_was_there(filled: str, connection: Connection, small_disk: Path) -> None:
    file = exported(filled, "router-days", "csv", small_disk / "x.csv")
    before = file.read_bytes(), manifest(file)
    many_routers(connection, 100_000)
    done = export(filled, "--what", "router-days", "-o", file)
    assert done.exit_code == 1
    assert "No space left on device" in done.errors
    assert str(file) in done.errors
    assert (file.read_bytes(), manifest(file)) == before
    assert sorted(each.name for each in small_disk.iterdir()) == ["x.csv", "x.csv.manifest.json"]


WAITS = "SELECT FROM pg_locks WHERE relation = 'public.routers'::regclass AND NOT granted"


@pytest.fixture
def held_up(connection: Connection) -> Iterator[None]:
    """Nobody reads routers."""
    with connection.transaction():
        connection.execute("LOCK TABLE public.routers")
        yield


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_export_that_is_ended_leaves_what_was_there(
    filled: str, connection: Connection, tmp_path: Path, end: signal.Signals, request: pytest.FixtureRequest
) -> None:
    file = exported(filled, "router-days", "csv", tmp_path / "x.csv")
    before = file.read_bytes(), manifest(file)
    request.getfixturevalue("held_up")
    with subprocess.Popen(
        [RADMETER, *ASKED, "-o", file], env=environment(filled), stderr=subprocess.DEVNULL
    ) as program:
        deadline = time.monotonic() + 60
        # It waits for the table: the unfinished file is there, and locked, before it asks for rows.
        while connection.execute(WAITS).fetchone() is None:
            assert time.monotonic() < deadline
            assert program.poll() is None
        refused = export(filled, "--what", "router-days", "-o", file)
        assert refused.exit_code == 1
        assert "another export writes" in refused.errors
        program.send_signal(end)
        assert program.wait(60) != 0
    assert (file.read_bytes(), manifest(file)) == before
    left = {each.name for each in tmp_path.iterdir()} - {"x.csv", "x.csv.manifest.json"}
    # Nobody can clear up behind SIGKILL: the next export does.
    assert left == (set() if end is not signal.SIGKILL else {"x.csv.part", "x.csv.manifest.json.part"})


def test_what_a_killed_export_left_is_written_over(filled: str, tmp_path: Path) -> None:
    for name in ("x.csv.part", "x.csv.manifest.json.part"):
        (tmp_path / name).write_text("half" * 10_000)
    exported(filled, "invoices", "csv", tmp_path / "x.csv")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.csv", "x.csv.manifest.json"]


@pytest.mark.parametrize("stop", range(8))
def test_wherever_it_is_killed_a_manifest_is_that_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Each step that changes a name or syncs one is the last one in turn."""

    def put(content: bytes) -> None:
        with FileTarget(tmp_path / "x") as target:
            target.sink.write(content)
            target.finish(json.dumps({"sha256": target.sink.sha256}).encode())

    class Killed(BaseException):
        pass

    steps = 0

    def last(name: str) -> None:
        real = getattr(Path if name in ("rename", "unlink") else os, name)

        def step(*arguments: object, **named: object) -> object:
            nonlocal steps
            if steps == stop:
                raise Killed
            steps += 1
            return real(*arguments, **named)

        monkeypatch.setattr(Path if name in ("rename", "unlink") else os, name, step)

    put(b"old")
    for each in ("rename", "unlink", "fsync"):
        last(each)
    try:
        put(b"new")
    except Killed:
        pass
    else:
        assert stop == 7  # there are so many steps
    monkeypatch.undo()
    content = (tmp_path / "x").read_bytes()
    assert content in (b"old", b"new")
    beside = tmp_path / "x.manifest.json"
    assert (
        not beside.exists() or json.loads(beside.read_text())["sha256"] == hashlib.sha256(content).hexdigest()
    )


def test_two_exports_of_one_file_do_not_mix(tmp_path: Path) -> None:
    with FileTarget(tmp_path / "x") as one:
        with pytest.raises(TargetError, match="another export writes"), FileTarget(tmp_path / "x"):
            pass
        one.sink.write(b"one")
        one.finish(b"{}")
    assert (tmp_path / "x").read_bytes() == b"one"
