"""Three PostgreSQL servers under Patroni, with etcd and HAProxy, from the files of deploy/ha, on the loopback.

Every process is a child of the test or has its directory, and is ended by its pid.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from radmeter.supervisor import end_with_parent
from support.deploy import rendered
from support.documents import block, changed
from support.links import Links
from support.processes import OTHERS_ENVIRONMENT, READY_SECONDS, until
from support.servers import programs_of_the_release, temporary_directory, unprivileged

NAMES = ("db1", "db2", "db3")
PROGRAMS = programs_of_the_release()
NEEDED = ("patroni", "patronictl", "etcd", "haproxy", "pgbouncer")
DATABASE = "radmeter"
# In deploy/ha/patroni.yml.
SUPERUSER_PASSWORD = "change-me-superuser"
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def missing_programs() -> list[str]:
    """Return which programs of `scripts/setup ha` are not installed."""
    missing = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
    return missing if (PROGRAMS / "initdb").exists() else [*missing, "postgresql"]


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Yield free TCP ports of the loopback. All are kept until the end of the block, so that no two are the same."""
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        yield ports


class Background:
    """A server program as the unprivileged user, with its output in a file. It ends when this process ends."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, identity: dict[str, Any]) -> None:
        self.name = name
        self.environment: dict[str, str] = {}  # for the program and the commands that it runs
        self.command = [str(part) for part in command]
        self.log = log
        self._identity = identity
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self.process is None
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={**OTHERS_ENVIRONMENT, "PATH": PATH, "LC_ALL": "C.UTF-8", **self.environment},
                start_new_session=True,
                preexec_fn=lambda: end_with_parent(signal.SIGTERM),
                **self._identity,
            )

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End the program as an operator would."""
        process, self.process = self.process, None
        assert process is not None
        process.terminate()
        process.wait(READY_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def tail(self, lines: int = 15) -> list[str]:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text.splitlines()[-lines:]


class Member:
    """A member of the cluster: Patroni, and the PostgreSQL server that it runs."""

    def __init__(
        self, name: str, base: Path, port: int, api: int, identity: dict[str, Any], links: Links | None = None
    ) -> None:
        """`links`: the ways on which others reach it, and it reaches etcd. None: directly."""
        self.name = name
        self.port = port
        self.api = api
        self._links = links
        self.data = base / name / "data"
        self.config = base / name / "patroni.yml"
        self.patroni = Background(
            f"patroni of {name}", ["patroni", self.config], base / f"{name}.log", identity
        )

    @property
    def links(self) -> Links:
        """The ways that can be cut, in a cluster that has them."""
        assert self._links is not None
        return self._links

    @property
    def clients_ports(self) -> tuple[int, int]:
        """The ports of PostgreSQL and Patroni for clients."""
        links = self._links
        return (self.port, self.api) if links is None else (links.clients.port, links.clients_patroni.port)

    @property
    def members_ports(self) -> tuple[int, int]:
        """The ports of PostgreSQL and Patroni for the other members."""
        links = self._links
        return (self.port, self.api) if links is None else (links.members.port, links.members_patroni.port)

    def etcd_port(self, port: int) -> int:
        """Return the port at which it reaches etcd, which listens on `port`."""
        return port if self._links is None else self._links.etcd.port

    def takes_writes(self) -> bool:
        """Tell whether its PostgreSQL takes writes. The test asks it directly."""
        with suppress(psycopg.OperationalError), psycopg.connect(self.dsn, connect_timeout=5) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        return False

    def postgres(self) -> list[int]:
        """Return the pids of all processes of its PostgreSQL: PostgreSQL works in its data directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if (entry / "cwd").readlink() == self.data:
                        found.append(int(entry.name))
        return found

    def postmaster(self) -> int:
        """Return the pid of the first process of its PostgreSQL."""
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        assert pid in self.postgres()
        return pid

    def kill_postmaster(self) -> None:
        """Kill the postmaster with SIGKILL. The other processes notice and end."""
        os.kill(self.postmaster(), signal.SIGKILL)
        until(f"{self.name} is dead", lambda: not self.postgres())

    def kill(self) -> None:
        """Kill Patroni and all of PostgreSQL with SIGKILL: what is left of a machine that lost its power."""
        self.patroni.kill()
        while pids := self.postgres():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        self.patroni.start()

    def stop(self) -> None:
        """Stop Patroni, which stops PostgreSQL, as an operator does."""
        self.patroni.stop()
        until(f"{self.name} has stopped", lambda: not self.postgres())

    def freeze(self) -> None:
        """Stop Patroni and all of PostgreSQL with SIGSTOP: a machine that hangs."""
        self.patroni.signal(signal.SIGSTOP)
        for pid in self.postgres():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        for pid in self.postgres():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.patroni.signal(signal.SIGCONT)

    def wal_position(self) -> str:
        """Return how far its WAL goes, as a leader."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        assert row is not None
        return str(row[0])

    def began_at(self) -> str:
        """Return where its timeline began: what the former leader had written behind that is gone."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(
                "SELECT pg_read_file('pg_wal/' || max(name)) FROM pg_ls_waldir() WHERE name LIKE '%.history'"
            ).fetchone()
        assert row is not None
        return str(row[0].strip().splitlines()[-1].split()[1])

    @property
    def local(self) -> dict[str, str]:
        """The environment variables of libpq for its socket."""
        return {"PGHOST": str(self.config.parent), "PGPORT": str(self.port), "PGUSER": "postgres"}

    @property
    def dsn(self) -> str:
        """The superuser's connection string for its own port."""
        return f"postgresql://postgres:{SUPERUSER_PASSWORD}@127.0.0.1:{self.port}/postgres"

    def hold_back_the_standbys(self) -> None:
        """Stop the processes that send the WAL to standbys. Only killing them ends that."""
        senders = []
        for pid in self.postgres():
            with suppress(OSError):
                if b"walsender" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    senders.append(pid)
        assert senders, f"{self.name} sends to no standby"
        for pid in senders:
            os.kill(pid, signal.SIGSTOP)

    def says(self, path: str) -> tuple[int, Any]:
        """Return the status and the answer of its Patroni; status 0 if there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}{path}", timeout=2) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, None
        except (OSError, ValueError):
            return 0, None


class Cluster:
    """Three members, etcd and HAProxy."""

    def __init__(
        self, *, synchronous: bool = False, splittable: bool = False, archived: bool = False
    ) -> None:
        """Start nothing yet.

        `splittable`: each member has `links`, which can be cut. `archived`: each has a configuration of pgBackRest.
        """
        self.base = temporary_directory()
        self._splittable = splittable
        self._archived = archived
        self._stack = ExitStack()
        self._identity = unprivileged(self.base)
        self.synchronous = False
        self._to_be_synchronous = synchronous

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self.etcd.start()
            until("etcd is healthy", self._etcd_healthy)
            for member in self.members:
                member.start()
            self.haproxy.start()
            self.settle()
            if self._to_be_synchronous:
                self.documented("synchronous", {})
                self.synchronous = True
                self.settle()
            said = self.documented("list", {"/etc/patroni/config.yml": str(self.members[0].config)})
            assert all(name in said for name in NAMES), said
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        with free_ports(11) as ports:
            self._ports = ports
        etcd, peer, self.leader_port, self.standbys_port, self.bouncer_port = ports[:5]
        self.members = [
            Member(name, self.base, port, api, self._identity, self._links(port, api, etcd))
            for name, port, api in zip(NAMES, ports[5:8], ports[8:11], strict=True)
        ]
        self._etcd_port = etcd
        self._etcd_url = f"http://127.0.0.1:{etcd}"
        self._write(
            "etcd.yml",
            "ha/etcd.yml",
            {
                "http://192.0.2.11:2380,db2=http://192.0.2.12:2380,db3=http://192.0.2.13:2380": f"http://127.0.0.1:{peer}",
                "http://192.0.2.11:2380": f"http://127.0.0.1:{peer}",
                "http://192.0.2.11:2379": self._etcd_url,
                "/var/lib/etcd/radmeter": f"{self.base}/etcd",
            },
        )
        self.etcd = Background(
            "etcd", ["etcd", "--config-file", self.base / "etcd.yml"], self.base / "etcd.log", self._identity
        )
        for member in self.members:
            self._directory(member.config.parent)
            self._write(member.config, "ha/patroni.yml", self._patroni(member))
            if self._archived:
                configuration = member.config.parent / "pgbackrest.conf"
                self._write(configuration, "backup/pgbackrest.conf", self._pgbackrest(member))
                member.patroni.environment["PGBACKREST_CONFIG"] = str(configuration)
        self._write("haproxy.cfg", "ha/haproxy.cfg", self._haproxy())
        self.haproxy = Background(
            "haproxy", ["haproxy", "-f", self.base / "haproxy.cfg"], self.base / "haproxy.log", self._identity
        )

    def _links(self, port: int, api: int, etcd: int) -> Links | None:
        return self._stack.enter_context(Links(port, api, etcd)) if self._splittable else None

    def _patroni(self, member: Member) -> dict[str, str]:
        place = member.config.parent
        postgresql, patroni = member.members_ports
        # Patroni asks etcd for etcd's own address and goes there, unless it believes in a proxy.
        proxies = "\n  use_proxies: true" if self._splittable else ""
        return {
            "name: db1": f"name: {member.name}",
            "listen: 192.0.2.11:8008": f"listen: 127.0.0.1:{member.api}",
            "connect_address: 192.0.2.11:8008": f"connect_address: 127.0.0.1:{patroni}",
            "listen: 192.0.2.11:5432": f"listen: 127.0.0.1:{member.port}",
            "connect_address: 192.0.2.11:5432": f"connect_address: 127.0.0.1:{postgresql}",
            "192.0.2.11:2379,192.0.2.12:2379,192.0.2.13:2379": (
                f"127.0.0.1:{member.etcd_port(self._etcd_port)}{proxies}"
            ),
            "192.0.2.0/24": "127.0.0.1/32",
            "/var/lib/postgresql/15/radmeter": str(member.data),
            "/usr/lib/postgresql/15/bin": str(PROGRAMS),
            "/var/lib/postgresql/.pgpass.patroni": f"{place}/pgpass",
            "/var/run/postgresql": str(place),
            "local all postgres peer": "local all postgres trust",
            # A watchdog would reset the machine that the tests run on.
            "mode: automatic": "mode: 'off'",
            "/dev/watchdog": "none",
            # Three servers in memory.
            "wal_keep_size: 1GB": "wal_keep_size: 256MB",
            "max_wal_size: 4GB": "max_wal_size: 256MB",
        }

    def _pgbackrest(self, member: Member) -> dict[str, str]:
        place = member.config.parent
        return {
            # One for all members.
            "/var/lib/pgbackrest": f"{self.base}/repository",
            "/var/log/pgbackrest": f"{place}/log",
            "/var/lib/postgresql/pgbackrest-lock": f"{place}/lock",
            "/var/spool/pgbackrest": f"{place}/spool",
            "/var/lib/postgresql/15/radmeter": str(member.data),
            "/var/run/postgresql": str(place),
            "pg1-port=5432": f"pg1-port={member.port}",
        }

    def _haproxy(self) -> dict[str, str]:
        changes = {
            "127.0.0.1:5000": f"127.0.0.1:{self.leader_port}",
            "127.0.0.1:5001": f"127.0.0.1:{self.standbys_port}",
        }
        for number, member in enumerate(self.members, 11):
            postgresql, patroni = member.clients_ports
            changes[f"192.0.2.{number}:5432 check port 8008"] = f"127.0.0.1:{postgresql} check port {patroni}"
        return changes

    def start_bouncer(self, user: str, password: str) -> str:
        """Start PgBouncer before HAProxy, for one role; return its connection string."""
        users = self.base / "userlist.txt"
        users.write_text(f'"{user}" "{password}"\n')
        users.chmod(0o600)
        self._give(users)
        self._write(
            "pgbouncer.ini",
            "ha/pgbouncer.ini",
            {
                "host=127.0.0.1 port=5000": f"host=127.0.0.1 port={self.leader_port}",
                "listen_port = 6432": f"listen_port = {self.bouncer_port}",
                "/etc/pgbouncer/userlist.txt": str(users),
                "/var/log/postgresql/pgbouncer.log": f"{self.base}/pgbouncer.log",
                "/var/run/postgresql/pgbouncer.pid": f"{self.base}/pgbouncer.pid",
            },
        )
        command: list[str | Path] = ["pgbouncer", self.base / "pgbouncer.ini"]
        self.bouncer = Background("pgbouncer", command, self.base / "pgbouncer.out", self._identity)
        self.bouncer.start()
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.bouncer_port}/{DATABASE}"

    def _write(self, name: str | Path, example: str, changes: dict[str, str]) -> Path:
        path = self.base / name
        path.write_text(rendered(example, changes))
        path.chmod(0o600)
        self._give(path)
        return path

    def _directory(self, path: Path) -> None:
        path.mkdir()
        self._give(path)

    def _give(self, path: Path) -> None:
        if self._identity:
            os.chown(path, self._identity["user"], self._identity["group"])

    def _etcd_healthy(self) -> bool:
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"{self._etcd_url}/health", timeout=2) as answer,
        ):
            return bool(json.load(answer).get("health") == "true")
        return False

    # What the test asks and does.

    def leader(self) -> Member | None:
        """Return the member that is the leader now, None if there is none, or two."""
        leaders = [member for member in self.members if member.says("/primary")[0] == 200]
        return leaders[0] if len(leaders) == 1 else None

    def the_leader(self) -> Member:
        """Return the leader; fail if there is none within the time."""
        until("there is a leader", self.leader)
        leader = self.leader()
        assert leader is not None
        return leader

    def standbys(self) -> list[Member]:
        """Return the members that are not the leader."""
        leader = self.the_leader()
        return [member for member in self.members if member is not leader]

    def awaited_standby(self) -> Member:
        """Return a standby; in synchronous mode the one that commits wait for."""
        _, answer = self.the_leader().says("/cluster")
        roles = {each["name"]: each["role"] for each in answer["members"]}
        return max(self.standbys(), key=lambda member: roles.get(member.name) == "sync_standby")

    def knows(self, member: Member) -> bool:
        """Tell whether etcd still has a member: its key expires when its Patroni is silent."""
        _, answer = self.the_leader().says("/cluster")
        return answer is None or member.name in {each["name"] for each in answer["members"]}

    def settle(self, seconds: float = READY_SECONDS) -> None:
        """Wait until there is a leader and both others follow it (in synchronous mode: one of them synchronously)."""
        try:
            until("the leader and two standbys that follow it", self._settled, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from error

    def _settled(self) -> bool:
        leader = self.leader()
        if leader is None or leader.patroni.process is None:
            return False
        with suppress(psycopg.Error), psycopg.connect(leader.dsn, connect_timeout=2) as connection:
            streaming = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication "
                "WHERE state = 'streaming' AND application_name = ANY (%s)",
                (list(NAMES),),
            ).fetchone()
            _, answer = leader.says("/cluster")
            members = (answer or {"members": []})["members"]
            states = [each["state"] for each in members]
            # The standby that may be promoted is the one that etcd names, a moment after PostgreSQL has it.
            awaited = sum(each["role"] == "sync_standby" for each in members)
            return (
                streaming == (2, int(self.synchronous))
                and awaited == int(self.synchronous)
                and len(states) == len(NAMES)
                and all(state in ("running", "streaming") for state in states)
            )
        return False

    def documented(
        self,
        name: str,
        changes: Mapping[str, str],
        *,
        document: str = "high-availability.md",
        on: Member | None = None,
        **environment: str,
    ) -> str:
        """Run commands of a document, with the names and places of this cluster in them.

        `on`: as the user that PostgreSQL runs as, on the machine of that member.
        """
        commands = changed(block(document, name), changes)
        there = {} if on is None else {**on.patroni.environment, **on.local}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
            cwd="/",
            env={
                **OTHERS_ENVIRONMENT,
                "PATH": f"{Path(sys.executable).parent}:{PATH}",
                "LC_ALL": "C.UTF-8",
                "PATRONICTL_CONFIG_FILE": str(self.members[0].config),
                "PGPASSWORD": SUPERUSER_PASSWORD,
                **there,
                **environment,
            },
            **({} if on is None else self._identity),
        )
        said: str = done.stdout
        assert done.returncode == 0, f"{commands}\n{said}"
        return said

    def create_database(self) -> None:
        """Make the database, empty."""
        hosts = "host=192.0.2.11,192.0.2.12,192.0.2.13"
        ports = ",".join(str(member.port) for member in self.members)
        self.documented("database", {hosts: f"host=127.0.0.1,127.0.0.1,127.0.0.1 port={ports}"})

    def move_leader(self, leader: Member, candidate: Member) -> None:
        """Move the leader to another member, as an operator does."""
        self.documented("switchover", {"db1": leader.name, "db2": candidate.name})

    def through_haproxy(self, user: str = "postgres", password: str = SUPERUSER_PASSWORD) -> str:
        """Return the connection string of the leader through HAProxy."""
        return (
            f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.leader_port}/{DATABASE}"
            "?target_session_attrs=read-write"
        )

    def standby_through_haproxy(self) -> str:
        """Return the connection string of a standby through HAProxy."""
        return f"postgresql://postgres:{SUPERUSER_PASSWORD}@127.0.0.1:{self.standbys_port}/{DATABASE}"

    def with_all_hosts(self, user: str = "postgres", password: str = SUPERUSER_PASSWORD) -> str:
        """Return the connection string that names all members: libpq looks for the leader."""
        hosts = ",".join(f"127.0.0.1:{member.clients_ports[0]}" for member in self.members)
        return f"postgresql://{user}:{quote(password, safe='')}@{hosts}/{DATABASE}?target_session_attrs=read-write"

    def report(self) -> str:
        """Return the last lines of all logs."""
        parts = []
        for program in (self.etcd, self.haproxy, *(member.patroni for member in self.members)):
            parts += [f"{program.name}:", *(f"  {line}" for line in program.tail())]
        return "\n".join(parts)

    def close(self) -> None:
        """End all processes and delete the directory."""
        try:
            for member in getattr(self, "members", []):
                member.kill()
            for name in ("bouncer", "haproxy", "etcd"):
                if (program := getattr(self, name, None)) is not None:
                    program.kill()
        finally:
            self._stack.close()
            shutil.rmtree(self.base, ignore_errors=True)
