"""The plugin outside radiusd. Only the server has the module `radiusd`, so a small one stands in for it."""

import ast
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.journals import pairs_of, read_journal

import radmeter
from radmeter.plugin.client_limit import UNCOUNTED
from radmeter.plugin.journal.writer import RETRY_SECONDS

L_INFO, L_ERR, L_WARN = 3, 4, 5
INVALID, OK = 4, 2
PAIRS = (("Acct-Status-Type", "Start"), ("Acct-Session-Id", "s1"), ("Class", "0x01"), ("Class", "0x02"))


class Left(BaseException):
    """Raised here instead of os._exit."""


class FakeRadiusd(ModuleType):
    L_INFO, L_ERR, L_WARN = L_INFO, L_ERR, L_WARN
    RLM_MODULE_INVALID, RLM_MODULE_OK = INVALID, OK

    def __init__(self) -> None:
        super().__init__("radiusd")
        self.config: dict[str, object] = {}
        self.log: list[tuple[int, str]] = []

    def radlog(self, level: int, message: str) -> None:
        if "\0" in message:
            raise ValueError("embedded null character")
        self.log.append((level, message))


@pytest.fixture
def radiusd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRadiusd:
    fake = FakeRadiusd()
    # It would be for these tests' own process.
    fake.config = {"journal": str(tmp_path / "journal"), "scheduling": "normal"}
    monkeypatch.setitem(sys.modules, "radiusd", fake)
    for name in [name for name in os.environ if name.startswith("RADMETER_")]:
        monkeypatch.delenv(name)
    return fake


@pytest.fixture
def plugin(radiusd: FakeRadiusd, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import the plugin anew, as radiusd does."""
    monkeypatch.delitem(sys.modules, "radmeter.plugin.handlers", raising=False)
    plugin = importlib.import_module("radmeter.plugin.handlers")

    def leave(status: int) -> None:
        raise Left(status)

    monkeypatch.setattr(plugin.os, "_exit", leave)
    yield plugin
    if plugin._State.journal is not None:
        plugin._State.journal.close()
    del sys.modules["radmeter.plugin.handlers"]


def errors(radiusd: FakeRadiusd) -> list[str]:
    return [message for level, message in radiusd.log if level == L_ERR]


def journaled(radiusd: FakeRadiusd) -> list[object]:
    return [json.loads(text) for text in pairs_of(Path(str(radiusd.config["journal"])))]


def eventually(answer: Callable[[], int], wanted: int) -> None:
    deadline = time.monotonic() + 120
    while answer() != wanted:
        assert time.monotonic() < deadline
        time.sleep(RETRY_SECONDS / 10)


def test_a_packet_is_journaled_as_it_came_before_it_is_answered(
    plugin: ModuleType, radiusd: FakeRadiusd
) -> None:
    assert plugin.instantiate(None) == 0
    before = time.time_ns() // 1000
    assert plugin.accounting(PAIRS) == OK
    (entry,) = read_journal(Path(str(radiusd.config["journal"])))
    assert entry.pairs == (
        '[["Acct-Status-Type","Start"],["Acct-Session-Id","s1"],["Class","0x01"],["Class","0x02"]]'
    )
    assert before <= entry.received_at_us <= time.time_ns() // 1000


def test_the_return_code_is_an_int_and_nothing_else(plugin: ModuleType) -> None:
    plugin.instantiate(None)
    assert type(plugin.accounting(PAIRS)) is int


@pytest.mark.parametrize(
    ("pairs", "kept"),
    [
        (None, []),
        ((), []),
        ((("User-Name", 'Zoë "☃" \n\x01'),), [["User-Name", 'Zoë "☃" \n\x01']]),
        ((("User-Name", "\udcff"),), [["User-Name", "\udcff"]]),
    ],
)
def test_all_text_that_radiusd_passes_is_kept(
    plugin: ModuleType, radiusd: FakeRadiusd, pairs: object, kept: object
) -> None:
    plugin.instantiate(None)
    assert plugin.accounting(pairs) == OK
    assert journaled(radiusd) == [kept]


def test_instantiate_touches_nothing_on_disk(plugin: ModuleType, tmp_path: Path) -> None:
    assert plugin.instantiate(None) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_start_logs_the_journal_and_its_sync_mode(plugin: ModuleType, radiusd: FakeRadiusd) -> None:
    radiusd.config |= {"sync": "interval", "sync_interval_ms": "7"}
    plugin.instantiate(None)
    in_force = plugin.scheduling.in_force()
    assert radiusd.log == [
        (
            L_INFO,
            f"radmeter: no configuration file, journal {radiusd.config['journal']}, sync = interval every 7 ms, "
            f"scheduling = normal ({in_force})",
        )
    ]


def test_the_journal_gets_what_the_settings_say(
    plugin: ModuleType, radiusd: FakeRadiusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def open_journal(directory: str, **options: object) -> None:
        given.update(options, directory=directory)

    monkeypatch.setattr(plugin, "JournalWriter", open_journal)
    radiusd.config |= {
        "sync": "interval",
        "sync_interval_ms": "7",
        "segment_bytes": "100000",
        "journal_limit_bytes": "2000000",
    }
    assert plugin.instantiate(None) == 0
    assert given == {
        "directory": radiusd.config["journal"],
        "sync": "interval",
        "interval_seconds": 0.007,
        "segment_bytes": 100_000,
        "limit_bytes": 2_000_000,
        "on_deleted": plugin._tell_deleted,
    }


@pytest.mark.parametrize(
    ("sync", "scheduling", "asked", "granted", "warned"),
    [
        ("packet", "auto", "realtime", True, False),
        ("packet", "auto", "realtime", False, False),
        ("interval", "auto", "short", True, False),
        ("interval", "realtime", "realtime", True, False),
        ("interval", "realtime", "realtime", False, True),
        ("packet", "short", "short", True, False),
        ("packet", "normal", "normal", True, False),
    ],
)
def test_scheduling_is_asked_for_once_and_a_warning_names_the_remedy(
    plugin: ModuleType,
    radiusd: FakeRadiusd,
    monkeypatch: pytest.MonkeyPatch,
    sync: str,
    scheduling: str,
    asked: str,
    granted: bool,
    warned: bool,
) -> None:
    questions: list[str] = []

    def ask(wanted: str) -> bool:
        questions.append(wanted)
        return granted

    monkeypatch.setattr(plugin.scheduling, "ask", ask)
    monkeypatch.setattr(plugin.scheduling, "in_force", lambda: "in words")
    radiusd.config |= {"sync": sync, "scheduling": scheduling}
    assert [plugin.instantiate(None) for _ in range(2)] == [0, 0]
    assert questions == [asked]
    assert radiusd.log[-1][1].endswith(f", scheduling = {scheduling} (in words)")
    warnings = [message for level, message in radiusd.log if level == L_WARN]
    assert len(warnings) == warned
    for remedy in ("LimitRTPRIO=1", "rtprio: 1"):
        assert all(remedy in warning for warning in warnings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sync", "never", "sync = 'never': allowed are packet and interval"),
        ("sync_interval_ms", "0", "sync_interval_ms = '0': allowed is a whole number from 1 to 60000"),
        ("sync_interval_ms", "5ms", "sync_interval_ms = '5ms'"),
        ("segment_bytes", "-1", "segment_bytes = '-1'"),
        ("journal_limit_bytes", "12", "journal_limit_bytes = '12': allowed is a whole number from 1048576"),
        ("journal", "var/journal", "journal = 'var/journal': give an absolute path"),
        ("jurnal", "/tmp", "unknown settings: jurnal; known: journal, sync"),
        ("scheduling", "fast", "scheduling = 'fast': allowed are auto, realtime, short and normal"),
        ("journal", "/dev/null/journal", "/dev/null is not a directory"),
        ("journal", "/proc/sys/journal", "may not write in /proc/sys, so /proc/sys/journal cannot be made"),
    ],
)
def test_a_configuration_error_stops_the_start_and_says_what_is_allowed(
    plugin: ModuleType, radiusd: FakeRadiusd, name: str, value: str, said: str
) -> None:
    radiusd.config[name] = value
    if name == "journal" and "sys" in value and os.access("/proc/sys", os.W_OK):
        pytest.skip("this user may write everywhere, as far as access(2) knows")
    assert plugin.instantiate(None) == -1
    (error,) = errors(radiusd)
    assert error.startswith("radmeter: ")
    assert said in error


def test_the_environment_wins_over_the_module_and_the_module_over_the_defaults(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADMETER_JOURNAL", "/srv/journal")
    monkeypatch.setenv("RADMETER_SEGMENT_BYTES", "2000000")
    monkeypatch.setenv("RADMETER_SYNC", "")
    settings = plugin.read_settings(
        {"journal": "", "sync": "", "segment_bytes": "1000000", "sync_interval_ms": "7"}
    )
    assert settings == plugin.PluginSettings(
        journal="/srv/journal",
        sync="packet",
        sync_interval_ms=7,
        segment_bytes=2_000_000,
        journal_limit_bytes=8 << 30,
        client_packets_per_second=5000,
        session_packets_per_second=5,
        quarantine="",
        quarantine_limit_bytes=64 << 20,
        scheduling="auto",
    )
    monkeypatch.delenv("RADMETER_JOURNAL")
    monkeypatch.setenv("RADMETER_CONFIG", "/dev/null")
    monkeypatch.setenv("RADMETER_STATE", "/srv/state")
    assert plugin.read_settings({}).journal == "/srv/state/journal"
    monkeypatch.delenv("RADMETER_STATE")
    assert plugin.read_settings({}, package=Path("/usr/lib/radmeter")).journal == "/var/lib/radmeter/journal"
    assert plugin.read_settings({}).journal == str(Path(radmeter.__file__).parents[2] / "var" / "journal")


def test_the_module_wins_over_the_configuration_file_and_the_start_names_the_file(
    plugin: ModuleType, radiusd: FakeRadiusd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text(
        f'journal = "{tmp_path / "of the file"}"\nsync = "interval"\nsegment_bytes = 1_000_000\n'
        'dsn = "host=db"\n[ship]\nbatch_ms = 1\n'
    )
    monkeypatch.setenv("RADMETER_CONFIG", str(file))
    settings = plugin.read_settings({"journal": "", "sync": "packet"})
    assert (settings.journal, settings.sync, settings.segment_bytes) == (
        str(tmp_path / "of the file"),
        "packet",
        1_000_000,
    )
    assert (settings.file, settings.journal_source) == (file, str(file))
    assert plugin.instantiate(None) == 0
    assert radiusd.log[0][1].startswith(
        f"radmeter: configuration {file}, journal {radiusd.config['journal']}, sync = interval every 5 ms"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jurnal = '/srv'", "unknown key 'jurnal'; the nearest is journal"),
        ("journal = 'srv'", "journal = 'srv': give an absolute path"),
        (
            "sync_interval_ms = -1",
            "sync_interval_ms = '-1': allowed is a whole number from 1 to 60000 (from /",
        ),
        ("journal = /srv", "radmeter.toml is not TOML: "),
        (None, "RADMETER_CONFIG: "),
        ("batch_ms = 0x" + 5000 * "f", "batch_ms is too large a number"),
        ("segment_bytes = '" + 5000 * "1" + "'", "allowed is a whole number from"),
        ('journal = "/srv/a\\u0000b"', "journal must have no NUL character"),
        ("[Ship]\nbatch_ms = 5", "no command has the table [Ship]; the nearest is ship"),
    ],
)
def test_a_configuration_file_that_is_wrong_stops_the_start(
    plugin: ModuleType,
    radiusd: FakeRadiusd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str | None,
    said: str,
) -> None:
    file = tmp_path / "radmeter.toml"
    monkeypatch.setenv("RADMETER_CONFIG", str(file))
    if text is not None:
        file.write_text(text)
    radiusd.config["journal"] = ""
    assert plugin.instantiate(None) == -1
    (error,) = errors(radiusd)
    assert said in error


def test_an_error_that_nobody_thought_of_stops_the_start(
    plugin: ModuleType, radiusd: FakeRadiusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "read_settings", lambda _: 1 // 0)
    assert plugin.instantiate(None) == -1
    assert "cannot start: ZeroDivisionError: " in errors(radiusd)[0]


def test_a_flood_beside_others_is_refused_and_logged_once(plugin: ModuleType, radiusd: FakeRadiusd) -> None:
    radiusd.config["client_packets_per_second"] = "10"
    assert plugin.instantiate(()) == 0
    flood = (*PAIRS, ("Tmp-IP-Address-0", "192.0.2.66"), ("Tmp-Integer-0", "1700000000"))
    others = (*PAIRS, ("Tmp-String-0", "2001:db8::1"))
    assert [plugin.accounting(flood) for _ in range(50)] == [OK] * 50  # alone
    assert plugin.accounting(others) == OK
    answers = [plugin.accounting(flood) for _ in range(50)]
    assert INVALID in answers
    assert plugin.accounting(others) == OK
    (line,) = errors(radiusd)
    assert "192.0.2.66" in line
    assert len(journaled(radiusd)) == 52 + answers.count(OK)


def test_a_flood_of_one_session_is_refused_and_logged_once_and_other_sessions_are_answered(
    plugin: ModuleType, radiusd: FakeRadiusd
) -> None:
    assert plugin.instantiate(()) == 0
    source = ("Tmp-IP-Address-0", "192.0.2.66")
    assert plugin.accounting((*PAIRS, ("Tmp-IP-Address-0", "192.0.2.7"))) == OK
    answers = [plugin.accounting((*PAIRS, ("NAS-Port", "1"), source)) for _ in range(UNCOUNTED + 60)]
    assert answers == [OK] * answers.count(OK) + [INVALID] * answers.count(INVALID)
    assert answers.count(OK) == UNCOUNTED + 20
    assert plugin.accounting((*PAIRS, ("NAS-Port", "2"), source)) == OK
    (line,) = errors(radiusd)
    assert "192.0.2.66 sends more than session_packets_per_second = 5" in line


def test_failure_and_recovery_are_logged_once_each(
    plugin: ModuleType, radiusd: FakeRadiusd, tmp_path: Path
) -> None:
    plugin.instantiate(None)
    journal = tmp_path / "journal"
    journal.write_text("a file in the way")
    assert [plugin.accounting(PAIRS) for _ in range(50)] == [INVALID] * 50
    (error,) = errors(radiusd)
    assert error.startswith(
        f"radmeter: packets cannot be kept and are not answered: the journal {journal} cannot be used"
    )
    journal.unlink()
    eventually(lambda: plugin.accounting(PAIRS), OK)
    refused = int(radiusd.log[-1][1].split("; ")[1].split()[0])
    assert radiusd.log[-1] == (
        L_INFO,
        f"radmeter: packets are kept and answered again; {refused} were refused since it failed",
    )
    assert refused >= 50
    assert plugin.accounting(PAIRS) == OK
    assert len(radiusd.log) == 3
    assert journaled(radiusd) == [[list(pair) for pair in PAIRS]] * 2


def test_every_error_is_a_failure_code_and_never_an_exception(
    plugin: ModuleType, radiusd: FakeRadiusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.instantiate(None)

    def broken(pairs: object) -> str:
        raise RuntimeError("with a \0 in it")

    monkeypatch.setattr(plugin, "to_text", broken)
    assert plugin.accounting(PAIRS) == INVALID
    assert errors(radiusd) == ["radmeter: packets cannot be kept and are not answered: with a \\u0000 in it"]


def test_a_kept_segment_that_gave_way_is_logged(plugin: ModuleType, radiusd: FakeRadiusd) -> None:
    plugin._tell_deleted(Path("/srv/shipped/segment-1.log"))
    assert radiusd.log[-1] == (
        L_WARN,
        "radmeter: the disk is full: the kept segment /srv/shipped/segment-1.log, which was shipped, is deleted",
    )


def test_all_instances_share_one_journal_and_the_last_to_go_closes_it(
    plugin: ModuleType, radiusd: FakeRadiusd
) -> None:
    for _ in range(4):
        assert plugin.instantiate(None) == 0
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(plugin.accounting(PAIRS) for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [OK] * 200
    assert len(journaled(radiusd)) == 200
    for _ in range(3):
        assert plugin.detach() == 0
        assert plugin.accounting(PAIRS) == OK
    with pytest.raises(Left, match="0"):
        plugin.detach()
    assert plugin.accounting(PAIRS) == INVALID
    assert len(journaled(radiusd)) == 203
    assert len([message for level, message in radiusd.log if level == L_INFO]) == 1


def test_an_instance_with_other_settings_is_refused(plugin: ModuleType, radiusd: FakeRadiusd) -> None:
    plugin.instantiate(None)
    radiusd.config["sync"] = "interval"
    assert plugin.instantiate(None) == -1
    assert "differs from another's" in errors(radiusd)[0]
    assert plugin.detach() == 0, "radiusd refuses to start: its exit status must not become success"


def loaded(tmp_path: Path, code: str) -> tuple[list[str], list[str]]:
    """Return the modules that code loads into an interpreter: those from PyPI, and radmeter's own."""
    package = Path(radmeter.__file__).parent
    (tmp_path / "radiusd.py").write_text("RLM_MODULE_OK, RLM_MODULE_INVALID = 2, 4\n")
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(package.parent)!r}]
{code}
allowed = sys.stdlib_module_names | {{"radmeter", "radiusd", "__main__"}}
print(sorted(name for name in sys.modules if name.split(".")[0] not in allowed))
print(sorted(name for name in sys.modules if name.startswith("radmeter.")))
"""
    run = subprocess.run(  # -I -S: no site-packages that could hide what is missing
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    )
    foreign, ours = map(ast.literal_eval, run.stdout.splitlines())
    return foreign, ours


def test_radiusd_loads_the_writer_and_neither_the_reader_nor_the_rest_of_radmeter(tmp_path: Path) -> None:
    foreign, ours = loaded(tmp_path, "import radmeter.plugin; radmeter.plugin.accounting")
    assert foreign == []
    assert ours == [
        "radmeter.errors",
        "radmeter.plugin",
        "radmeter.plugin.client_limit",
        "radmeter.plugin.config_file",
        "radmeter.plugin.handlers",
        "radmeter.plugin.journal",
        "radmeter.plugin.journal.files",
        "radmeter.plugin.journal.group_commit",
        "radmeter.plugin.journal.headers",
        "radmeter.plugin.journal.kept",
        "radmeter.plugin.journal.locks",
        "radmeter.plugin.journal.packet_text",
        "radmeter.plugin.journal.record_format",
        "radmeter.plugin.journal.segment_format",
        "radmeter.plugin.journal.segment_writer",
        "radmeter.plugin.journal.writer",
        "radmeter.plugin.quarantine",
        "radmeter.plugin.scheduling",
        "radmeter.plugin.settings",
        "radmeter.printable",
    ]


def test_the_whole_folder_imports_only_the_standard_library_errors_and_printable(tmp_path: Path) -> None:
    package = Path(radmeter.__file__).parent
    modules = [
        ".".join(("radmeter", *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        for path in (package / "plugin").rglob("*.py")
    ]
    assert len(modules) >= 13
    foreign, ours = loaded(tmp_path, f"import {', '.join(modules)}")
    assert foreign == []
    assert [name for name in ours if not name.startswith("radmeter.plugin")] == [
        "radmeter.errors",
        "radmeter.printable",
    ]


def test_the_package_has_the_functions_of_rlm_python3_and_no_others(plugin: ModuleType) -> None:
    package = importlib.import_module("radmeter.plugin")
    assert [getattr(package, name) for name in package.FUNCTIONS] == [
        plugin.instantiate,
        plugin.accounting,
        plugin.detach,
    ]
    assert not hasattr(package, "authorize")
