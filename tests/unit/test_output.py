"""What is printed and logged: text of others is harmless, and only one module prints."""

import ast
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import radmeter
from radmeter import output
from radmeter.cli.common import Figure, emit, emit_csv
from radmeter.database.identifiers import literal, quoted
from radmeter.errors import RadmeterError, StoreError
from radmeter.output import LogFormatter
from radmeter.printable import CONTROL, escaped, escaped_json, printable
from radmeter.spreadsheets import harmless
from radmeter.trial.display import Display, Snapshot
from radmeter.trial.totals import Comparison, Usage

PACKAGE = Path(radmeter.__file__).parent
C0, C1, BIDI = (
    map(chr, range(0x20)),
    map(chr, range(0x7F, 0xA0)),
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e",
)
HARMFUL = [*C0, *C1, *BIDI, "\u2066", "\u2067", "\u2068", "\u2069", "\ud800", "\udcff"]
# What prints, and the modules that may call it.
PRINTERS = {
    "click.echo": {"output.py"},
    "click.secho": set(),
    "click.style": {"output.py"},
    "click.confirm": {"cli/common.py"},
    "click.prompt": {"cli/users.py"},  # for a password
    "click.progressbar": set(),
    # Whether a terminal shows more than lines is asked in one place.
    "sys.stdout.isatty": {"output.py", "cli/common.py", "cli/doctor.py"},  # for the width
    "sys.stderr.isatty": {"output.py"},
    "Live": {"cli/top.py", "trial/display.py"},
    "print": set(),
    "Console": {"output.py"},
    "csv.writer": {
        "cli/common.py",  # into a buffer, which goes to output.document
        "billing/statements/lines_csv.py",  # into a file
        "api/encoding.py",  # into an answer
    },
    "logging.basicConfig": {"output.py"},
    "logging.StreamHandler": {"output.py"},
    "radiusd.radlog": {"plugin/handlers.py"},
    "sys.stdout.write": set(),
    "sys.stderr.write": set(),
    "os.write": {"plugin/journal/files.py", "plugin/journal/segment_writer.py"},  # into files
    "json.dump": set(),
}
# Methods of consoles, whoever made them.
METHODS = {
    "print": {"output.py", "cli/common.py", "trial/display.py", "trial/run.py"},
    "show": {"cli/main.py", "trial/run.py"},
}


def calls() -> Iterator[tuple[str, str, int]]:
    """Yield the file, the name of the function and the line of each call in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield str(path.relative_to(PACKAGE)), ast.unparse(node.func), node.lineno


def test_only_the_output_module_prints() -> None:
    elsewhere = [
        f"{path}, line {line}: {name}"
        for path, name, line in calls()
        if path not in PRINTERS.get(name, {path})
        or ("." in name and path not in METHODS.get(name.rpartition(".")[2], {path}))
    ]
    assert elsewhere == []


@pytest.mark.parametrize("char", HARMFUL, ids=lambda char: f"U+{ord(char):04X}")
def test_a_harmful_character_is_written_out(char: str) -> None:
    text = f"a{char}b"
    shown = f"a\\u{ord(char):04x}b"
    assert printable(text) == escaped(text) == shown
    document = escaped_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert not CONTROL.search(document.replace("\n", ""))
    assert json.loads(document) == {text: [text]}


def test_harmless_characters_stay() -> None:
    text = "Zoë 东京 علی می\u200cخواهم 🏨\u200d👩 a\u00a0b \\u001b"
    assert escaped(text) == text
    assert printable("Zoë 东京 علی 🏨 \\u001b") == "Zoë 东京 علی 🏨 \\u001b"
    assert escaped_json(text) == text


def test_what_cannot_be_seen_is_shown_to_people() -> None:
    assert printable("alice\u200b\U000e0041") == "alice\\u200b\\U000e0041"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-5", "@sum", "\t=1", "\r=1", "\nx", " =1", "\u3000=1", '"=1', "\ufeff=1"]
)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert harmless(text) == "'" + escaped(text)


@pytest.mark.parametrize("text", ["＝1", "＋1", "－5", "＠sum", "﹣1", "\u22125"])
def test_a_wide_formula_too(text: str) -> None:
    assert harmless(text) == "'" + text


@pytest.mark.parametrize("text", ["alice", "a=b", "a-b", "'=1", "", " ", "user@example.org", "x; y", "AA-BB"])
def test_other_text_stays(text: str) -> None:
    assert harmless(text) == text


def test_a_formula_behind_a_semicolon_gets_an_apostrophe() -> None:
    assert harmless('alice;=1;"@x; -1') == "alice;'=1;'\"@x;' -1"


def test_numbers_of_ours_are_never_text(capsys: pytest.CaptureFixture[str]) -> None:
    emit_csv([(-5, -0.5, Figure("-2.675"), "-5", None)], columns=["a", "b", "c", "d", "e"])
    assert capsys.readouterr().out == "a,b,c,d,e\n-5,-0.5,-2.675,'-5,\n"


def test_a_mac_address_is_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    macs = "aa:cd:ab:id:00", ":smile:", "[bold]x[/bold]"
    emit([{"mac": mac} for mac in macs], "table", columns=["mac"])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == ["mac", *macs]


def test_data_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("router a\nerror: forged", "  second line", err=True)
    assert capsys.readouterr().err == "router a\\u000aerror: forged\n  second line\n"


def test_an_error_has_a_line_for_each_argument() -> None:
    error = StoreError("the server does not answer", "  /log:", "    FATAL: no")
    assert error.args[0] == "the server does not answer"
    assert str(error) == "the server does not answer /log: FATAL: no"
    assert str(RadmeterError()) == ""


def test_a_log_line_is_one_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    log.warning("shipping waits: %s", "x\nERROR forged\x1b[31m\x9b\u202e")
    try:
        raise ValueError("bad \x1b[2J")
    except ValueError:
        log.exception("it failed")
    first, second, *trace = stream.getvalue().splitlines()
    assert first == r"WARNING shipping waits: x\u000aERROR forged\u001b[31m\u009b\u202e"
    assert second == "ERROR it failed"
    assert trace[-1] == r"ValueError: bad \u001b[2J"


def test_the_live_table_shows_names_of_others_harmlessly() -> None:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=200, color_system=None, markup=False, emoji=False
    )
    rows = [Comparison("eve\x1b]0;title\x07\x9b2J\n\u202e", Usage(1, 2), Usage(1, 2))]
    with Display(console, bare=False) as display:
        display.show(Snapshot(users=rows, routers=rows, packets={}, waiting=0))
        display.say("radius says \x1b]0;x\x07")
    text = stream.getvalue()
    assert r"eve\u001b]0;title\u0007\u009b2J\u000a\u202e" in text
    assert r"radius says \u001b]0;x\u0007" in text
    assert not set("\x07\x9b\u202e") & set(text)


def test_arguments_and_faults_of_the_program_are_written_out() -> None:
    hostile = "--no\x1b[31m\udcc2\udc9b\nerror: forged"
    done = subprocess.run(
        [sys.executable, "-m", "radmeter", "status", hostile], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "[31m" in done.stderr
    assert not CONTROL.search(done.stderr.replace("\n", ""))
    assert not any(line.startswith("error: forged") for line in done.stderr.splitlines())
    fault = "from radmeter import output; output.prepare(); raise ValueError('x\\x1b[2J\\x9b')"
    done = subprocess.run([sys.executable, "-c", fault], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == r"ValueError: x\u001b[2J\u009b"


def test_a_terminal_that_is_not_utf8_gets_an_escape() -> None:
    code = "from radmeter import output; output.prepare(); output.say('东京 é')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={"PYTHONIOENCODING": "latin-1"}, check=True
    )
    assert done.stdout == b"\\u4e1c\\u4eac \xe9\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("username", "username"),
        ("User Name", '"User Name"'),
        ('a"; DROP', '"a""; DROP"'),
        ("\x1b[31m", r'U&"\+00001b[31m"'),
        ('\u202e\\"', r'U&"\+00202e\\"""'),
    ],
)
def test_names_in_sql_can_be_pasted(name: str, shown: str) -> None:
    assert quoted(name) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "'a b'"),
        ("it's", "'it''s'"),
        ("a\\b", r"E'a\\b'"),
        ("a'\t\u00a0", r"E'a''\U00000009\U000000a0'"),
    ],
)
def test_texts_in_sql_can_be_pasted(text: str, shown: str) -> None:
    assert literal(text) == shown


def test_a_document_keeps_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.document("a\u00a0b\n  c\n\x1b[2J")
    assert capsys.readouterr().out == "a\u00a0b\n  c\n\\u001b[2J"


def test_long_csv_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(number, "x" * 100) for number in range(3000)]
    emit_csv(rows, columns=["number", "text"])
    assert capsys.readouterr().out.splitlines() == ["number,text", *(f"{n},{text}" for n, text in rows)]
