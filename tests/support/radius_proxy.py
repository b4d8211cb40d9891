"""A FreeRADIUS without radmeter, as at a site or before several hosts: it takes accounting, and hands it on."""

from pathlib import Path

from radmeter.freeradius import installed

from .processes import READY, Child, eventually

# What /etc/freeradius/3.0 has beside a site. `{run}` is the directory for all files.
AROUND = """
name = proxy
prefix = /usr
logdir = {run}
run_dir = {run}
radacctdir = {run}
proxy_requests = yes
security {{
	allow_core_dumps = no
}}
thread pool {{
	start_servers = 2
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 4
}}
client routers {{
	ipaddr = 127.0.0.1
	secret = testing123
}}
modules {{
}}
proxy server {{
	default_fallback = no
}}
"""


class Radiusd(Child):
    """A FreeRADIUS with a configuration directory."""

    def start(self, raddb: Path, environment: dict[str, str] | None = None) -> None:
        program = installed.program()
        assert program is not None
        self.spawn([program, "-f", "-l", "stdout", "-d", str(raddb)], environment or {})
        eventually(lambda: bool(self.lines(READY)) or self._ended(), True)
        assert not self._ended(), self.lines()

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


def start_proxy(proxy: Radiusd, raddb: Path, site: str) -> None:
    """Start a proxy. `site`: its server and the home servers, in FreeRADIUS's configuration language."""
    (raddb / "radiusd.conf").write_text(AROUND.format(run=raddb) + site)
    proxy.start(raddb)
