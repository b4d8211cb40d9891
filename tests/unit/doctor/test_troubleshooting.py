"""docs/operators/troubleshooting.md: doctor has these checks and words, and the commands are there."""

import re
import shlex
from pathlib import Path

from support.command_tree import leaves

from radmeter.doctor.checks import CHECKS

ROOT = Path(__file__).parents[3]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "operators" / "troubleshooting.md").read_text().splitlines()
    if line.startswith("| ")
][1:]
CODE = re.compile(r"`([^`]+)`")


def test_doctor_has_these_checks_and_words() -> None:
    source = "\n".join(path.read_text() for path in sorted((ROOT / "src/radmeter/doctor").glob("*.py")))
    # A text goes on in the next line of the source.
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    names = {check.name for check in CHECKS}
    said = [CODE.findall(says) for _, says, _ in ROWS if says]
    assert len(said) > 15
    assert [(name, words) for name, *words in said if name not in names] == []
    assert [words for _, *texts in said for words in texts if words not in source] == []


def test_the_commands_are_there() -> None:
    commands = leaves()
    for _, _, look in ROWS:
        for command in CODE.findall(look):
            program, *words = shlex.split(command)
            if program == "radmeter":
                path = [word for word in words if not word.startswith("-")]
                assert any(" ".join(path[:length]) in commands for length in (1, 2, 3)), command
                found = next(
                    commands[" ".join(path[:n])] for n in (3, 2, 1) if " ".join(path[:n]) in commands
                )
                options = {name for parameter in found.params for name in parameter.opts}
                assert {word for word in words if word.startswith("--")} <= options, command
                assert set(re.findall(r"--only (\S+)", command)) <= {check.name for check in CHECKS}
            else:
                assert program == "journalctl"
