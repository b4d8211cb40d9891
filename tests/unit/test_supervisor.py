"""Programs are started again when they die, and none outlives the supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from radmeter.errors import RadmeterError
from radmeter.supervisor import Program, Supervisor, last_lines

SLEEPER = "import time; print('here I am', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
PARENT = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)
time.sleep(600)
"""
SUPERVISES = """
import sys, time
from pathlib import Path
from radmeter.supervisor import Program, Supervisor
supervisor = Supervisor(Path(sys.argv[1]), print)
for name in ('one', 'two'):
    supervisor.start(Program(name=name, arguments=[sys.executable, '-c', sys.argv[2]]))
print(*supervisor.pids().values(), flush=True)
time.sleep(600)
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_true(what: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "log", lambda *lines: said.append("\n".join(lines)))
    yield supervisor
    supervisor.stop_all(seconds=0)


def awaits(supervisor: Supervisor, name: str, words: str) -> None:
    await_true(lambda: words in "\n".join(supervisor.last_words(name)))


def test_a_program_that_dies_is_started_again_and_its_last_words_are_shown(
    supervisor: Supervisor, said: list[str]
) -> None:
    supervisor.start(Program(name="sleeper", arguments=python(SLEEPER)))
    awaits(supervisor, "sleeper", "here I am")
    first = supervisor.pids()["sleeper"]
    os.kill(first, signal.SIGKILL)
    await_true(lambda: "sleeper" not in supervisor.pids())
    supervisor.watch()
    assert "sleeper was ended by SIGKILL" in said[0]
    assert "here I am" in said[0]
    assert "starting sleeper again in 0.5 s" in said[0]

    def started_again() -> bool:
        supervisor.watch()
        return supervisor.pids().get("sleeper", first) != first

    await_true(started_again)


def test_one_that_dies_at_once_is_started_again_later_and_later(
    supervisor: Supervisor, said: list[str]
) -> None:
    supervisor.start(Program(name="broken", arguments=python("raise SystemExit('no luck')")))

    def died_three_times() -> bool:
        supervisor.watch()
        return len(said) == 3

    await_true(died_three_times)
    assert [words.rpartition(" in ")[2] for words in said] == ["0.5 s", "1 s", "2 s"]
    assert all("broken ended with status 1" in words and "no luck" in words for words in said)


def test_all_are_stopped_the_last_started_first(supervisor: Supervisor, tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    with open(sys.argv[1], 'a') as file: file.write(sys.argv[2])\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    for name in "abc":
        supervisor.start(Program(name=name, arguments=python(code, str(ends), name)))
        awaits(supervisor, name, "ready")
    pids = supervisor.pids()
    supervisor.stop_all()
    assert ends.read_text() == "cba"
    assert not any(alive(pid) for pid in pids.values())
    assert supervisor.pids() == {}
    supervisor.stop_all()


def test_one_that_does_not_listen_is_killed_at_the_deadline(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(Program(name="deaf", arguments=python(DEAF)))
    awaits(supervisor, "deaf", "here I am")
    pid = supervisor.pids()["deaf"]
    supervisor.stop_all(seconds=0.2)
    assert not alive(pid)
    assert said == ["deaf does not end on SIGTERM; killing it. No answered packet is lost"]


def test_a_program_may_have_signals_of_its_own_and_its_exit_status_is_told(
    supervisor: Supervisor, said: list[str]
) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: print('asked', flush=True))\n"
        "signal.signal(signal.SIGQUIT, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(600)\n"
    )
    supervisor.start(
        Program(name="own", arguments=python(code), end_signal=signal.SIGINT, kill_signal=signal.SIGQUIT)
    )
    awaits(supervisor, "own", "ready")
    assert supervisor.stop("own", 0.2) == 7
    assert "asked" in "\n".join(supervisor.last_words("own"))
    assert said == ["own does not end on SIGINT; killing it. No answered packet is lost"]


def test_each_start_is_prepared_and_one_that_cannot_be_is_tried_again(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    places = iter([tmp_path, tmp_path / "missing", tmp_path.parent])
    program = Program(
        name="here",
        arguments=python("import os; print('at', os.getcwd(), 'end')"),
        prepare=lambda: {"cwd": next(places)},
    )
    supervisor.start(program)
    awaits(supervisor, "here", f"at {tmp_path} end")

    def started_elsewhere() -> bool:
        supervisor.watch()
        return f"at {tmp_path.parent} end" in "\n".join(supervisor.last_words("here"))

    await_true(started_elsewhere)
    assert any("here cannot be started" in words for words in said)


def test_a_hurry_does_not_wait_for_the_deadline(supervisor: Supervisor) -> None:
    supervisor.start(Program(name="deaf", arguments=python(DEAF)))
    awaits(supervisor, "deaf", "here I am")
    began = time.monotonic()
    supervisor.stop_all(seconds=60, hurry=lambda: True)
    assert time.monotonic() - began < 10


def test_what_a_program_has_started_ends_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(Program(name="parent", arguments=python(PARENT)))
    log = supervisor.log("parent")
    await_true(lambda: log.exists() and log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    assert alive(grandchild)
    supervisor.stop_all()
    await_true(lambda: not alive(grandchild))


def test_programs_are_out_of_reach_of_the_terminals_ctrl_c(supervisor: Supervisor) -> None:
    supervisor.start(Program(name="sleeper", arguments=python(SLEEPER)))
    pid = supervisor.pids()["sleeper"]
    assert os.getsid(pid) == pid != os.getsid(0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_that_is_ended_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(python(SUPERVISES, str(tmp_path), DEAF), stdout=subprocess.PIPE, text=True) as us:
        assert us.stdout is not None
        pids = [int(word) for word in us.stdout.readline().split()]
        assert len(pids) == 2
        await_true(lambda: all(alive(pid) for pid in pids))
        us.send_signal(how)
        us.wait()
    await_true(lambda: not any(alive(pid) for pid in pids))


def test_a_program_that_is_not_there_is_an_error_that_names_it(supervisor: Supervisor) -> None:
    with pytest.raises(RadmeterError, match=r"ghost cannot be started: .*no-such-program"):
        supervisor.start(Program(name="ghost", arguments=["no-such-program"]))


def test_a_log_is_not_needed_to_say_what_happened(tmp_path: Path) -> None:
    assert "No such file" in last_lines(tmp_path / "missing.log")[1]
