"""What doctor prints to be pasted is a command, and what a person is to read is a sentence: never both in one text.

The first tests hold the measure to it. `support.doctoring.ask` applies the measure to all findings of all tests.
"""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from support.doctoring import fault_of

import radmeter.doctor
from radmeter.doctor.commands import by_path, without_sudo

DOCTOR = Path(radmeter.doctor.__file__).parent


@pytest.mark.parametrize(
    ("remedy", "note", "fault"),
    [
        ("radmeter partitions ensure", "", None),
        (
            "psql \"$RADMETER_DSN\" -c 'SELECT pg_catalog.pg_terminate_backend(7)'",
            "Then wait a minute.",
            None,
        ),
        ("radmeter routers show '#7'", "", None),
        ("radmeter ship  # on radius1", "", "a comment in a command"),
        ("SELECT pg_terminate_backend(7)", "", "not a command of a shell"),
        ("ALTER TABLE t ADD c text", "", "ALTER is no program"),
        ("restart FreeRADIUS", "", "restart is no program"),
        ("export RADMETER_DSN=", "", "a setting of the operator's shell, which no service gets"),
        ("radmeter people erase USER", "", "a placeholder in a command"),
        ("radmeter routers set 7 --clients 192.0.2.0/24 ..", "", "a placeholder in a command"),
        ("psql -c SELECT", "", "SQL that no program runs"),
        ("sudo sed -i 1d /etc/radmeter/radmeter.toml", "", "an edit that makes a file of a link"),
        ("sudo sed -i --follow-symlinks 1d /etc/radmeter/radmeter.toml", "", None),
        ("", "VACUUM the table t.", "a note that is no sentence"),
        ("", "restart FreeRADIUS", "a note that is no sentence"),
    ],
)
def test_the_measure(remedy: str, note: str, fault: str | None) -> None:
    assert fault_of(remedy, note) == fault


@pytest.mark.parametrize(
    ("command", "by_root"),
    [
        ("sudo systemctl start postgresql", "systemctl start postgresql"),
        ("sudoedit /etc/x && sudo systemctl restart y", "editor /etc/x && systemctl restart y"),
        ("sudo -u postgres psql -c '\\password u'", "runuser -u postgres -- psql -c '\\password u'"),
        ("sudo -u a -g b radmeter ship", "runuser -u a -g b -- radmeter ship"),
        ("sudo -E radmeter doctor", "radmeter doctor"),
        ("echo a | sudo tee -a /etc/x", "echo a | tee -a /etc/x"),
        ("ssh db1 sudo systemctl start postgresql", "ssh db1 sudo systemctl start postgresql"),
    ],
)
def test_root_needs_no_sudo(command: str, by_root: str) -> None:
    assert without_sudo(command) == by_root
    assert fault_of(by_root, "") is None


@pytest.mark.parametrize(
    ("command", "elsewhere"),
    [
        ("radmeter routers show '#6'", "PROGRAM routers show '#6'"),
        ("sudo radmeter doctor --only requests", "sudo PROGRAM doctor --only requests"),
        ("sudo -u a -g b radmeter ship", "sudo -u a -g b PROGRAM ship"),
        ("runuser -u a -- radmeter ship", "runuser -u a -- PROGRAM ship"),
        ("psql -c 'SELECT 1' && radmeter migrate up", "psql -c 'SELECT 1' && PROGRAM migrate up"),
        ("sudo systemctl restart radmeter-jobs", "sudo systemctl restart radmeter-jobs"),
        ("ls /var/lib/radmeter /etc", "ls /var/lib/radmeter /etc"),
        ("ssh db1 sudo radmeter doctor", "ssh db1 sudo radmeter doctor"),
    ],
)
def test_a_checkout_has_no_radmeter_on_the_path(
    command: str, elsewhere: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = Path(sys.executable).with_name("radmeter")
    installed = tmp_path / "radmeter"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        shown = by_path(command)
        installed.touch(mode=0o755)
        assert by_path(command) == command
    assert shown == elsewhere.replace("PROGRAM", shlex.quote(str(program)))
    assert fault_of(shown, "") is None


def test_no_finding_has_a_comment_in_its_command_or_breaks_a_link() -> None:
    """Also those that no test brings about."""
    texts = [
        (path.name, node.lineno, node.value)
        for path in DOCTOR.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert len(texts) > 500
    assert [text for text in texts if re.search(r" # ?[a-z]|\(then: ", text[2])] == []
    assert [text for text in texts if re.search(r"\bsed -i(?! --follow-symlinks)", text[2])] == []
