"""A copy of Debian's own FreeRADIUS configuration, changed as an operator would change it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import radmeter
from radmeter import resources
from support.processes import READY, Child, eventually, free_port

STOCK = Path("/etc/freeradius/3.0")
PREACCT = "radmeter_preacct"
ACCOUNTING = "radmeter_accounting"


def literal(text: str) -> Callable[[re.Match[str]], str]:
    """Return a replacement for `re.sub` that has no escapes."""
    return lambda _: text


class StockServer(Child):
    """A server with a copy of Debian's configuration, on free ports, with the lines of radius/README.md.

    `variables` are radmeter's in its environment.
    """

    def __init__(self, base: Path, journal: Path) -> None:
        super().__init__(base / "radius.log")
        self.raddb = base / "raddb"
        self.journal = journal
        self.variables: dict[str, str] | None = None
        shutil.copytree(STOCK, self.raddb, symlinks=True)
        # The copy is of whom it makes. As root, that is not radiusd's user, who must read it.
        for path in self.raddb.rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o044)
        self._edit("radiusd.conf", r"(?m)^(\s*(user|group) = .*)$", r"#\1")
        self._edit("radiusd.conf", r"(?m)^raddbdir = .*$", f"raddbdir = {self.raddb}")
        self._edit("radiusd.conf", r"(?m)^logdir = .*$", f"logdir = {base}")
        self._edit("radiusd.conf", r"(?m)^run_dir = .*$", f"run_dir = {base}")
        self._edit("sites-available/inner-tunnel", "port = 18120", f"port = {free_port()}")
        site = self.raddb / "sites-available" / "default"
        text = re.sub(r"(?m)^(\s*)ipaddr = \*", r"\1ipaddr = 127.0.0.1", site.read_text())
        text = re.sub(r"(?m)^(\s*)port = 0", lambda match: f"{match[1]}port = {free_port()}", text)
        site.write_text(text)

    def _edit(self, name: str, pattern: str, replacement: str) -> None:
        path = self.raddb / name
        path.write_text(re.sub(pattern, replacement, path.read_text()))

    def install(self) -> None:
        """Install radmeter as the README says."""
        for name in ("mods-available/radmeter", "policy.d/radmeter"):
            shutil.copy(resources.directory("radius") / name, self.raddb / name)
        (self.raddb / "mods-enabled" / "radmeter").symlink_to("../mods-available/radmeter")
        self._edit("sites-available/default", r"(?m)^preacct \{$", "preacct {\n\t" + PREACCT)
        self._edit(
            "sites-available/default", r"(?ms)^(accounting \{\n.*?)^\}$", r"\1" + f"\t{ACCOUNTING}\n}}"
        )

    def write_with_rlm_sql(self, conninfo: str) -> None:
        """Let rlm_sql write to a database, as docs/adoption.md says. If it fails, the packet still goes to radmeter."""
        module = self.raddb / "mods-available" / "sql"
        text = module.read_text()
        for pattern, replacement in (
            (r"(?m)^\s*dialect = .*$", 'dialect = "postgresql"'),
            (r"(?m)^\s*driver = .*$", 'driver = "rlm_sql_${dialect}"'),
            (r"(?m)^\s*radius_db = .*$", f'radius_db = "{conninfo}"'),
            (r"(?ms)^\s*(sqlite|mysql|mongo) \{.*?^\t\}$", ""),
        ):
            text = re.sub(pattern, literal(replacement), text)
        module.write_text(text)
        (self.raddb / "mods-enabled" / "sql").symlink_to("../mods-available/sql")
        self._edit(
            "sites-available/default", r"(?ms)^(accounting \{\n.*?)^\s*-sql$", r"\1\tsql {\n\t\tfail = 1\n\t}"
        )

    def leave_rlm_sql(self) -> None:
        """Remove rlm_sql from the accounting section again."""
        self._edit("sites-available/default", r"\tsql \{\n\t\tfail = 1\n\t\}\n", "")

    def proxy(self, realm: str, home: tuple[str, int]) -> None:
        """Pass a realm's accounting on to another server."""
        with (self.raddb / "proxy.conf").open("a") as file:
            file.write(
                f"""
                home_server radmeter_home {{
                    type = acct
                    ipaddr = {home[0]}
                    port = {home[1]}
                    secret = testing123
                    status_check = none
                }}
                home_server_pool radmeter_pool {{
                    home_server = radmeter_home
                }}
                realm {realm} {{
                    acct_pool = radmeter_pool
                }}
                """
            )

    @property
    def address(self) -> tuple[str, int]:
        """The IPv4 address and port of accounting."""
        lines = self.lines("Listening on acct address 127.0.0.1")
        return "127.0.0.1", int(lines[0].split(" port ")[1].split()[0])

    def start(self, *, python_path: bool = True) -> None:
        """Start the server; `python_path`: with the variable that the README names."""
        place = {"RADMETER_PYTHON_PATH": str(Path(radmeter.__file__).parent.parent)} if python_path else {}
        others = {"RADMETER_JOURNAL": str(self.journal)} if self.variables is None else self.variables
        ready = len(self.lines(READY))
        self.spawn(["freeradius", "-f", "-l", "stdout", "-xx", "-d", str(self.raddb)], place | others)
        eventually(lambda: len(self.lines(READY)) > ready, True)
