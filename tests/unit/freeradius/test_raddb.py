"""FreeRADIUS's configuration as the doctor reads it."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.some_radiusd import some_radiusd

from radmeter.freeradius import installed
from radmeter.freeradius.raddb import Section, expanded, read, variables


@pytest.fixture
def raddb(tmp_path: Path) -> Path:
    for name in ("mods-enabled", "sites-enabled", "policy.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "radiusd.conf").write_text(
        """# a comment with a { brace
prefix = /usr
name = radius
logdir = ${prefix}/log/${name}    # said "here"
security { status_server = yes }
modules {
	$INCLUDE mods-enabled/
}
policy {
	$INCLUDE policy.d/
}
$INCLUDE sites-enabled/
$-INCLUDE not-there.conf
"""
    )
    (tmp_path / "mods-enabled" / "radmeter").write_text(
        'python3 radmeter {\n\tmodule = radmeter.plugin\n\tpython_path = "$ENV{RADMETER_PYTHON_PATH}"\n'
        '\tconfig {\n\t\tjournal = "/var/{odd}/journal"\n\t}\n}\n'
    )
    (tmp_path / "mods-enabled" / "radmeter~").write_text("python3 left_by_an_editor {\n}\n")
    (tmp_path / "sites-enabled" / "default").write_text(
        """server default {
	listen {
		type = acct
	}
	preacct {
		radmeter_preacct
		if (&User-Name =~ /^a{2}#/) {
			acct_unique
		}
	}
	accounting {
		detail
		-sql
		radmeter {
			fail = 1
		}
	}
}
"""
    )
    return tmp_path


def section(root: Section, name: str) -> Section:
    return next(iter(root.all(name)))


def test_items_sections_and_includes(raddb: Path) -> None:
    root = read(raddb)
    module = section(root, "python3")
    assert (module.argument, module.value("module")) == ("radmeter", "radmeter.plugin")
    assert section(root, "config").value("journal") == "/var/{odd}/journal"
    assert section(root, "security").value("status_server") == "yes"
    assert [each.argument for each in root.all("server")] == ["default"]


def test_files_that_an_editor_left_are_not_read(raddb: Path) -> None:
    assert [each.argument for each in read(raddb).all("python3")] == ["radmeter"]


def test_a_dash_in_a_name_is_read(raddb: Path) -> None:
    """As in Debian's inner-tunnel."""
    (raddb / "sites-enabled" / "inner-tunnel").write_text("server inner-tunnel {\n}\n")
    assert [each.argument for each in read(raddb).all("server")] == ["default", "inner-tunnel"]


def test_calls_are_in_order_with_their_lines(raddb: Path) -> None:
    root = read(raddb)
    accounting = [
        (call.name, call.line) for call in section(root, "accounting").calls() if call.name != "fail"
    ]
    assert accounting == [("detail", 12), ("sql", 13), ("radmeter", 14)]
    assert section(root, "preacct").calls()[0].name == "radmeter_preacct"
    assert "acct_unique" in [call.name for call in section(root, "preacct").calls()]


def test_variables_are_filled_in(raddb: Path) -> None:
    root = read(raddb)
    assert expanded(root.value("logdir") or "", root, {}) == "/usr/log/radius"
    path = section(root, "python3").value("python_path") or ""
    assert expanded(path, root, {"RADMETER_PYTHON_PATH": "/opt"}) == "/opt"
    assert expanded(path, root, {}) == ""


def test_a_variable_that_names_itself_comes_to_an_end(raddb: Path) -> None:
    (raddb / "radiusd.conf").write_text("a = ${a}\n")
    root = read(raddb)
    assert expanded("${a}", root, {}) == "${a}"


def test_the_configuration_that_comes_with_radmeter() -> None:
    from radmeter import resources

    root = read(resources.directory("radius"))
    assert section(root, "python3").value("module") == "radmeter.plugin"
    assert [call.name for call in section(root, "preacct").calls()] == ["radmeter_preacct"]


def test_of_two_servers_the_one_that_writes_to_the_journal_is_chosen(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for name in ("first", "mine", "last"):
            journal = str(tmp_path / name / "journal")
            stack.enter_context(some_radiusd(tmp_path / name, RADMETER_JOURNAL=journal))
        raddb, environment, _ = installed.raddb(None, tmp_path / "mine" / "journal")
    assert raddb == tmp_path / "mine"
    assert environment is not None
    assert environment["RADMETER_JOURNAL"] == str(tmp_path / "mine" / "journal")


def test_a_pipe_is_refused_and_not_waited_for(raddb: Path) -> None:
    os.mkfifo(raddb / "sites-enabled" / "pipe")
    (raddb / "radiusd.conf").write_text("$INCLUDE sites-enabled/pipe\n")
    code = "import sys; from pathlib import Path; from radmeter.freeradius.raddb import read; read(Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, raddb], stderr=subprocess.PIPE, timeout=60, check=False
    )
    assert b"not a file" in done.stderr


def test_the_section_env_changes_the_environment(raddb: Path) -> None:
    (raddb / "radiusd.conf").write_text("ENV {\n\tGIVEN = 'here'\n\tTAKEN\n}\n")
    assert variables(read(raddb), {"TAKEN": "a", "GIVEN": "b", "C": "c"}) == {"GIVEN": "here", "C": "c"}
    assert expanded("$ENV{GIVEN}$ENV{TAKEN}", read(raddb), {"TAKEN": "a"}) == "here"
