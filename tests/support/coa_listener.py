"""FreeRADIUS's own `coa` listener: a second implementation of RFC 5176 on the router's side."""

from pathlib import Path
from typing import Self

from support.processes import READY, Child, free_port, until
from support.scripted_nas import SECRET

# Who takes a session away, who has none, and who refuses by each Error-Cause.
CONFIGURATION = """
prefix = /usr
raddbdir = {base}
logdir = {base}
run_dir = {base}
name = coa
libdir = /usr/lib/freeradius
pidfile = {base}/radiusd.pid
log {{
    destination = stdout
}}
thread pool {{
    start_servers = 1
    max_servers = 2
    min_spare_servers = 1
    max_spare_servers = 2
    max_requests_per_server = 0
}}
client loopback {{
    ipaddr = 127.0.0.1
    secret = {secret}
}}
modules {{
    detail {{
        filename = {base}/detail
    }}
    always ok {{
        rcode = ok
    }}
    always fail {{
        rcode = fail
    }}
}}
server coa {{
    listen {{
        type = coa
        ipaddr = 127.0.0.1
        port = {port}
    }}
    recv-coa {{
        detail
        if (&User-Name == "bob") {{
            ok
        }}
        else {{
            update reply {{
                &Error-Cause := Session-Context-Not-Found
            }}
            fail
        }}
    }}
    send-coa {{
        ok
    }}
}}
"""


class CoaListener(Child):
    """A server that acknowledges requests for bob's sessions, and has no other sessions."""

    def __init__(self, base: Path) -> None:
        base.mkdir(parents=True, exist_ok=True)
        super().__init__(base / "coa.log")
        self._base = base
        self.port = free_port()

    def start(self) -> Self:
        """Start, and wait until it takes requests."""
        for _ in range(5):
            (self._base / "radiusd.conf").write_text(
                CONFIGURATION.format(base=self._base, port=self.port, secret=SECRET.decode())
            )
            self.spawn(["freeradius", "-f", "-l", "stdout", "-d", str(self._base)], {})
            until(
                "FreeRADIUS's coa listener",
                lambda: self.lines(READY) or (self.process is not None and self.process.poll() is not None),
            )
            if self.lines(READY):
                return self
            self.process = None
            self.port = free_port()
        raise AssertionError("\n".join(self.lines()))

    def requests(self) -> str:
        """Return the requests as FreeRADIUS writes them into a detail file."""
        path = self._base / "detail"
        return path.read_text() if path.exists() else ""
