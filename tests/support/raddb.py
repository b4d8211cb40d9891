"""A FreeRADIUS configuration directory as radmeter's README describes it, for tests to break."""

import shutil
import stat
from pathlib import Path

import radmeter
from radmeter import resources

SOURCE = resources.directory("radius")
PYTHON_PATH = Path(radmeter.__file__).parent.parent

RADIUSD = """security {
	status_server = yes
}
modules {
	$INCLUDE mods-enabled/
}
policy {
	$INCLUDE policy.d/
}
$INCLUDE sites-enabled/
"""
SITE = """server default {
	listen {
		type = acct
	}
	preacct {
		radmeter_preacct
		preprocess
	}
	accounting {
		detail
		radmeter_accounting
	}
}
server inner-tunnel {
	listen {
		type = auth
	}
	preacct {
		acct_unique
	}
}
"""


class Raddb:
    """The directory. Beside it are a journal, and stand-ins for programs that a test must not run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "raddb"
        self.journal = directory / "journal"
        self.programs = directory / "bin"
        for name in ("mods-available", "mods-enabled", "policy.d", "sites-enabled"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / "radiusd.conf").write_text(RADIUSD)
        (self.directory / "sites-enabled" / "default").write_text(SITE)
        shutil.copy(SOURCE / "policy.d" / "radmeter", self.directory / "policy.d")
        module = (SOURCE / "mods-available" / "radmeter").read_text()
        module = module.replace("$ENV{RADMETER_PYTHON_PATH}", str(PYTHON_PATH))
        module = module.replace("$ENV{RADMETER_JOURNAL}", str(self.journal))
        (self.directory / "mods-available" / "radmeter").write_text(module)
        (self.directory / "mods-enabled" / "radmeter").symlink_to("../mods-available/radmeter")
        self.programs.mkdir()
        for name, text in {"sudo": 'exec "$@"', "systemctl": "exit 0"}.items():
            path = self.programs / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace a text in one of its files."""
        path = self.directory / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))
