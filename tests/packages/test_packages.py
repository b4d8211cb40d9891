"""The packages on bare Debian: built, installed, counting, upgraded, removed and purged, in a chroot of each release.

`scripts/test --packages` runs them. Nothing of systemd runs in a chroot: its units are verified by systemd-analyze, and
their commands are run as their users with their environment.
"""

import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chroots import SHARED, Chroot
from support.documents import as_shown, block, blocks, changed
from support.load_factor import load_factor
from support.packages import BUILD, OTHERS, RELEASES, build

from bench import commands, sizes

pytestmark = pytest.mark.skipif(
    os.environ.get("RADMETER_PACKAGES") != "1", reason="takes minutes and root: scripts/test --packages"
)
UNITS = ("radmeter-ship", "radmeter-jobs", "radmeter-serve")
RADDB = "/etc/freeradius/3.0"
JOURNAL = "/var/lib/radmeter/journal"
LINES, SERVE, SEE = (block("operators/install.md", name) for name in ("install", "serve", "see"))
PACKET = (
    "echo 'User-Name={user},Acct-Status-Type=Stop,Acct-Session-Id={session},Acct-Input-Octets={octets},"
    "NAS-Identifier=lobby' | radclient -x -t 30 localhost:1813 acct testing123"
)


# Notes what it is told. Units are enabled, but nothing can be started.
SYSTEMCTL = """#!/bin/sh
echo "$@" >> /run/systemctl
[ "$1" != enable ] || /usr/bin/systemctl enable $(echo "$@" | sed 's/enable --now//')
"""


# What a browser does to log in.
PAGE = """cd /run
at=http://127.0.0.1:8320
csrf=$(curl -sS -c jar $at/login | sed -n 's/.*name="csrf" value="\\([^"]*\\)".*/\\1/p' | head -1)
curl -sS -b jar -c jar --data-urlencode "csrf=$csrf" --data-urlencode "key=$(cat key)" $at/login
curl -sS -b jar $at/
"""


# Prints the processor time of each run of a command.
TIMES = """
import resource, subprocess, sys
def taken():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
for _ in range(15):
    before = taken()
    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
    print(taken() - before)
"""


class Unit:
    """A running service: the command of its unit, as its user, with its environment."""

    def __init__(self, chroot: Chroot, name: str, log: Path, **environment: str) -> None:
        text = chroot.run(f"cat /usr/lib/systemd/system/{name}.service")

        def values(key: str) -> list[str]:
            return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]

        (command,), (user,) = values("ExecStart"), values("User")
        self.log = log
        variables = dict(each.split("=", 1) for each in values("Environment"))
        for file in values("EnvironmentFile"):
            lines = chroot.run(f"cat {file.removeprefix('-')} 2>/dev/null || true").splitlines()
            pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
            variables |= {key: value.strip('"') for key, value in pairs}
        for directory in values("RuntimeDirectory"):
            chroot.run(f"install -d -o {user} -g {user} /run/{directory}")
        groups = ",".join([*chroot.run(f"id -Gn {user}").split(), *values("SupplementaryGroups")])
        group = "".join(values("Group")) or user
        become = f"exec setpriv --reuid {user} --regid {group} --groups {groups} --"
        self.process = chroot.start(f"echo $$; {become} {command}", log, "root", "", variables | environment)
        self._chroot = chroot
        self.says("")

    def says(self, text: str, times: int = 1) -> None:
        """Wait until its log has a text."""
        deadline = time.monotonic() + 120
        while self.log.read_text(errors="replace").count(text) < max(times, 1) or not self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """End it as systemd does."""
        self._chroot.run(f"kill {self.log.read_text().splitlines()[0]}")
        assert self.process.wait(60) == 0, self.log.read_text()


@pytest.fixture(scope="module", params=RELEASES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Path]]:
    """Build the packages of a release, of two revisions, in that release.

    If RADMETER_BUILT names a directory, they are there from an earlier run.
    """
    release: str = request.param
    if earlier := os.environ.get("RADMETER_BUILT"):
        return release, sorted(Path(earlier).glob(f"*~{RELEASES[release]}_*.deb"))
    return release, build(release, tmp_path_factory.mktemp(f"build-{release}"), (1, 2))


@pytest.fixture
def chroot(built: tuple[str, list[Path]], tmp_path: Path) -> Iterator[Chroot]:
    """A Debian with FreeRADIUS and PostgreSQL, without network, and the packages in /mnt/shared."""
    with Chroot(built[0], tmp_path, *BUILD, *OTHERS) as chroot:
        for package in built[1]:
            (chroot.shared / package.name).hardlink_to(package)
        yield chroot


def package(release: str, name: str, revision: int) -> str:
    return f"{SHARED}/{name}_0.1.0-{revision}~{RELEASES[release]}_amd64.deb"


def counted(chroot: Chroot, user: str, octets: int) -> None:
    """Wait until a user has used so many octets."""
    query = f"SELECT sum(bytes_in)::text FROM user_quota_usage WHERE username = '{user}'"
    deadline = time.monotonic() + 120
    while chroot.run(f'psql -XAtd radmeter -c "{query}"', user="postgres").strip() != str(octets):
        assert time.monotonic() < deadline, f"{user} has not {octets} octets"
        time.sleep(0.2)


def check_that_it_is_light(chroot: Chroot) -> None:
    """Check what it takes of the disk and, where `alice` is counted, of a processor."""
    blocks = chroot.run("dpkg -L radmeter | xargs -d '\\n' stat --format %b").split()
    assert sum(map(int, blocks)) * 512 < sizes.TARGET * sizes.MEGABYTE
    for command, limit in {"--help": "--help", "usage user alice": "usage user"}.items():
        said = chroot.run(f"python3 - radmeter {command}", text=TIMES)
        allowed = commands.TARGETS[limit] * min(2.0, load_factor())  # caches are shared on a busy machine
        assert min(map(float, said.split())) < allowed, said


def test_the_whole_life(built: tuple[str, list[Path]], chroot: Chroot, tmp_path: Path) -> None:
    release = built[0]
    before = set(
        chroot.run(
            "find /etc /opt /usr/lib /usr/bin /usr/share /var/lib/radmeter /run 2>/dev/null || true"
        ).splitlines()
    )
    chroot.run(f"mkdir {SHARED}/first && cp {package(release, 'radmeter', 1)} {SHARED}/first")
    chroot.run(f"apt-get install -y {package(release, 'radmeter', 1)}")

    # Who owns what.
    rights = chroot.run(
        "stat -c '%U:%G %a %n' /etc/radmeter /etc/radmeter/radmeter.toml /etc/radmeter/secrets /etc/radmeter/http "
        f"/var/lib/radmeter /var/lib/radmeter/http {JOURNAL} "
        "/opt/radmeter /opt/radmeter/current/bin/radmeter; getent passwd radmeter | cut -d: -f6,7"
    ).splitlines()
    assert rights == [
        "root:root 755 /etc/radmeter",
        "root:root 644 /etc/radmeter/radmeter.toml",
        "root:radmeter-ship 750 /etc/radmeter/secrets",
        "root:radmeter_http 750 /etc/radmeter/http",
        "root:root 755 /var/lib/radmeter",
        "radmeter_http:radmeter_http 700 /var/lib/radmeter/http",
        f"freerad:freerad 750 {JOURNAL}",
        "root:root 755 /opt/radmeter",
        "root:root 755 /opt/radmeter/current/bin/radmeter",
        "/var/lib/radmeter:/usr/sbin/nologin",
    ]
    # The jobs can read the password of their group; the shipper and radiusd cannot.
    chroot.run("cd /etc/radmeter/secrets; umask 027; echo secret > jobs; chgrp radmeter jobs")
    assert chroot.run("cat /etc/radmeter/secrets/jobs", user="radmeter") == "secret\n"
    chroot.run("cat /etc/radmeter/secrets/jobs", user="freerad", fails=True)
    shipper = "setpriv --reuid freerad --regid radmeter-ship --groups freerad --"
    chroot.run(f"{shipper} cat /etc/radmeter/secrets/jobs", fails=True)
    chroot.run("cd /etc/radmeter/secrets; umask 027; echo secret > ship; chgrp radmeter-ship ship")
    assert chroot.run(f"{shipper} cat /etc/radmeter/secrets/ship") == "secret\n"
    chroot.run("cat /etc/radmeter/secrets/ship", user="freerad", fails=True)

    # The lines of docs/operators/install.md, on a machine that has FreeRADIUS and PostgreSQL.
    stock = chroot.run(f"cd {RADDB} && find . -type f | sort | xargs sha256sum; find . -type l | sort")
    chroot.run("pg_ctlcluster $(pg_lsclusters -h | cut -d' ' -f1) main start")
    chroot.run("cat > /usr/local/bin/systemctl; chmod 755 /usr/local/bin/systemctl", text=SYSTEMCTL)
    chroot.run(f"cd {SHARED}/first && set -x\n{LINES}")
    assert chroot.run("cat /run/systemctl").splitlines() == [
        "restart freeradius",
        "enable --now radmeter-ship radmeter-jobs",
    ]
    assert 'python_path = "/usr/lib/radmeter/python"' in chroot.run(f"cat {RADDB}/mods-available/radmeter")
    radiusd = Unit(chroot, "freeradius", tmp_path / "radius.log", FREERADIUS_OPTIONS="-l stdout")
    radiusd.says("Ready to process requests")
    radiusd.says(f"configuration /etc/radmeter/radmeter.toml, journal {JOURNAL}")
    chroot.run(PACKET.format(user="alice", session=1, octets=1000))
    ship = Unit(chroot, "radmeter-ship", tmp_path / "ship.log")
    ship.says(f"configuration /etc/radmeter/radmeter.toml, journal {JOURNAL}")
    counted(chroot, "alice", 1000)
    # radiusd has the shipper's user, and still cannot reach into it.
    memory = f"/proc/{ship.log.read_text().splitlines()[0]}/mem"
    assert "Permission denied" in chroot.run(f"exec 3<> {memory}", user="freerad", fails=True)
    jobs = Unit(chroot, "radmeter-jobs", tmp_path / "jobs.log")
    jobs.says("configuration /etc/radmeter/radmeter.toml")
    assert "alice" in chroot.run("radmeter usage user alice")
    check_that_it_is_light(chroot)
    # rich and SQLAlchemy do without what the package leaves out of them.
    said = chroot.run("radmeter simulate --seconds 2 --users 3 --rate 20 --format csv")
    name, octets = re.findall(r"(?m)^user,([^,]+),,(\d+),", said)[0]
    assert int(octets) > 0
    counted(chroot, name, int(octets))
    for command in ("verify", "jobs close-stale", "partitions ensure", "migrate status"):
        chroot.run(f"script --quiet --return --command 'radmeter {command}' /dev/null")  # on a terminal
    said = chroot.run("radmeter doctor --only freeradius --only journal --only roles; radmeter status")
    assert re.findall(r"(?m)^red .*", said) == []

    # An upgrade keeps what was configured. What runs goes on until it is started again.
    chroot.run("sed -i 's/^#kept_hours = .*/kept_hours = 24/' /etc/radmeter/radmeter.toml")
    said = chroot.run(f"apt-get install -y {package(release, 'radmeter', 2)}")
    assert "FreeRADIUS goes on with the plugin of 0.1.0-1" in said
    assert chroot.run("readlink /opt/radmeter/current; ls /opt/radmeter/releases").split() == (
        ["releases/0.1.0-2", "0.1.0-2"]
    )
    assert "kept_hours = 24" in chroot.run("cat /etc/radmeter/radmeter.toml")
    chroot.run(PACKET.format(user="bob", session=2, octets=2000))
    counted(chroot, "bob", 2000)
    for unit in (ship, jobs, radiusd):
        unit.stop()
    radiusd = Unit(chroot, "freeradius", tmp_path / "radius2.log", FREERADIUS_OPTIONS="-l stdout")
    radiusd.says("Ready to process requests")
    chroot.run(PACKET.format(user="carol", session=3, octets=3000))
    radiusd.stop()
    ship = Unit(chroot, "radmeter-ship", tmp_path / "ship2.log")
    counted(chroot, "carol", 3000)
    ship.stop()
    assert "nothing to do" in chroot.run("radmeter freeradius install --yes")

    # FreeRADIUS must not be left with a module that is gone.
    said = chroot.run("apt-get remove -y radmeter", fails=True)
    assert "radmeter freeradius install --undo" in said
    assert chroot.run("radmeter --version")
    chroot.run("radmeter freeradius install --undo --yes")
    assert (
        chroot.run(f"cd {RADDB} && find . -type f | sort | xargs sha256sum; find . -type l | sort") == stock
    )
    chroot.run("apt-get remove -y radmeter")
    assert chroot.run("ls /etc/radmeter /etc/default/radmeter")
    chroot.run("freeradius -C")

    # Packets are kept, and nothing else.
    assert f"is kept, because of files such as {JOURNAL}/" in chroot.run("apt-get purge -y radmeter")
    assert "segment-" in chroot.run(f"ls -R {JOURNAL}")
    chroot.run("rm -r /var/lib/radmeter")
    after = set(
        chroot.run(
            "find /etc /opt /usr/lib /usr/bin /usr/share /var/lib/radmeter 2>/dev/null || true"
        ).splitlines()
    )
    left = {name for name in after - before if "postgresql" not in name and "/etc/freeradius" not in name}
    assert {
        name for name in left if not re.match(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$", name)
    } == set()


def test_the_server_as_the_readme_installs_it(
    built: tuple[str, list[Path]], chroot: Chroot, tmp_path: Path
) -> None:
    for name in ("radmeter", "radmeter-archive"):
        chroot.run(f"mkdir -p {SHARED}/first && cp {package(built[0], name, 1)} {SHARED}/first")
    chroot.run("pg_ctlcluster $(pg_lsclusters -h | cut -d' ' -f1) main start")
    chroot.run("cat > /usr/local/bin/systemctl; chmod 755 /usr/local/bin/systemctl", text=SYSTEMCTL)
    chroot.run(f"cd {SHARED}/first && set -x\n{LINES}")
    said = chroot.run("runuser -u radmeter_http -- radmeter serve", fails=True)
    assert "apt install ./radmeter-archive_*.deb" in said
    chroot.run(f"cd {SHARED}/first && set -x\n{SERVE}")
    assert chroot.run("cat /run/systemctl").splitlines()[-1] == "enable --now radmeter-serve"
    serve = Unit(chroot, "radmeter-serve", tmp_path / "serve.log")
    serve.says("listening on http://127.0.0.1:8320")
    said = chroot.run(f"{SEE}\necho $key > /run/key")
    assert '"items":[]' in said
    assert "\nradmeter_database_up 1" in said
    # As root, who may make keys of each role.
    assert chroot.run(f"set -x\n{block('operators/api.md', 'keys')}").count("rm_") == 2
    # A journal that the server may not read is no fault of it.
    assert '"ready":true' in chroot.run("curl -sS http://127.0.0.1:8320/readyz").replace(" ", "")
    # A person logs in with the key, and sees the page.
    page = chroot.run(PAGE)
    assert "The page of the NOC" in page or "Throughput" in page, page
    # The server has no right of the others, and the others none of its.
    assert chroot.run("stat -c '%U %a' /var/lib/radmeter/http/http.key") == "radmeter_http 600\n"
    chroot.run("cat /var/lib/radmeter/http/http.key", user="radmeter", fails=True)
    chroot.run("cd /etc/radmeter/secrets; umask 027; echo x > ship; chgrp radmeter-ship ship")
    for path in ("/etc/radmeter/secrets/ship", JOURNAL, f"{RADDB}/clients.conf"):
        chroot.run(f"! cat {path} && ! ls {path}", user="radmeter_http")
    chroot.run("radmeter migrate status", user="radmeter_http", fails=True)
    serve.stop()
    said = chroot.run("radmeter serve", user="radmeter", fails=True)
    assert "radmeter migrate roles --login radmeter_http=radmeter_api" in said
    # With a password.
    chroot.run(f"set -x\n{block('operators/api.md', 'password of serve')}")
    chroot.run("cat >> /etc/radmeter/radmeter.toml", text=f"\n{block('operators/api.md', 'table of serve')}")
    serve = Unit(chroot, "radmeter-serve", tmp_path / "serve2.log")
    serve.says("listening on http://127.0.0.1:8320")
    assert '"items":[]' in chroot.run(SEE.replace("keys add me", "keys add you"))
    serve.stop()
    # The metrics of the host's journal, with a login of their own.
    chroot.run(f"set -x\n{block('operators/monitoring.md', 'login of metrics')}")
    chroot.run(f"install -d -o freerad -g freerad {JOURNAL}; install -d -g freerad -m 0775 /run/exporter")
    become = "setpriv --reuid freerad --regid radmeter-ship --groups freerad,radmeter-ship --"
    chroot.run(f"{become} radmeter metrics --textfile /run/exporter/radmeter.prom")
    assert "radmeter_build_info" in chroot.run("cat /run/exporter/radmeter.prom")
    chroot.run("radmeter freeradius install --undo --yes && apt-get purge -y radmeter-archive radmeter")
    chroot.run("ls -d /etc/radmeter", fails=True)
    chroot.run("ls /var/lib/radmeter/http /etc/radmeter", fails=True)


class Units:
    """What systemd would do: the services of a machine, started and stopped as the test's systemctl was told."""

    def __init__(self, chroot: Chroot, logs: Path) -> None:
        chroot.run("cat > /usr/local/bin/systemctl; chmod 755 /usr/local/bin/systemctl", text=SYSTEMCTL)
        chroot.run("touch /run/systemctl")
        self._chroot, self._logs = chroot, logs
        self._done = 0
        self._running: dict[str, Unit] = {}

    def follow(self) -> None:
        """Do what was told since."""
        told = self._chroot.run("cat /run/systemctl").splitlines()
        for line in told[self._done :]:
            verb, *names = line.replace(" --now", "").split()
            assert verb in ("restart", "enable", "start", "stop"), line
            for name in names:
                if verb in ("restart", "stop") and name in self._running:
                    self._running.pop(name).stop()
                if verb != "stop":
                    log = self._logs / f"{name}-{len(list(self._logs.iterdir()))}.log"
                    self._running[name] = Unit(self._chroot, name, log, FREERADIUS_OPTIONS="-l stdout")
                    self._running[name].says(READY[name])
        self._done = len(told)


# What a service says once it works.
READY = {
    "freeradius": "Ready to process requests",
    "radmeter-ship": f"journal {JOURNAL}",
    "radmeter-jobs": "configuration /etc/radmeter/radmeter.toml",
    "radmeter-serve": "listening on http://127.0.0.1:8320",
}
# A reader waits for two seconds.
COUNTED = (
    "until radmeter status > /run/status; grep -q 'waiting  *0 records' /run/status; do sleep 0.1; done\n"
)


def test_the_first_day_of_an_operator(built: tuple[str, list[Path]], chroot: Chroot, tmp_path: Path) -> None:
    """Each line of the page in one shell after the other, from the package to the invoice, and what it prints."""
    for name in ("radmeter", "radmeter-archive"):
        chroot.run(f"mkdir -p {SHARED}/first && cp {package(built[0], name, 1)} {SHARED}/first")
    chroot.run("pg_ctlcluster $(pg_lsclusters -h | cut -d' ' -f1) main start")
    (logs := tmp_path / "logs").mkdir()
    units = Units(chroot, logs)
    # What a shell keeps for the next lines: functions and variables.
    run = (
        "set +u; [ ! -e /run/kept ] || . /run/kept; cd {place}; set -eu +o pipefail\n{code}\n"
        "{{ declare -f login; declare -p key; }} > /run/kept 2> /dev/null || true"
    )
    others = []
    for name, code, shown in blocks("operators/install.md", "## Put it behind your FreeRADIUS"):
        waiting = changed(code, {"sleep 2\n": COUNTED}) if "sleep 2\n" in code else code
        said = chroot.run(run.format(place=f"{SHARED}/first", code=waiting))
        if shown is not None and not as_shown(shown, said):
            others.append(f"{name} prints:\n{said}")
        assert not re.findall(r"(?m)^(?:red|error).*", said), f"{name} prints\n{said}"
        units.follow()
    assert not others, "\n".join(others)
    # It is empty, and counts.
    chroot.run(PACKET.format(user="carol", session=1, octets=1000))
    counted(chroot, "carol", 1000)
    assert chroot.run("radmeter billing list --format csv").count("\n") == 1


def test_an_unused_package_leaves_nothing(built: tuple[str, list[Path]], chroot: Chroot) -> None:
    release = built[0]
    packages = f"{package(release, 'radmeter', 1)} {package(release, 'radmeter-archive', 1)}"
    chroot.run(f"apt-get install -y --no-install-recommends {packages}")
    code = "import pyarrow.parquet, duckdb; print(duckdb.sql('select 42').fetchone())"
    assert chroot.run(f'/opt/radmeter/current/bin/python -I -c "{code}"', user="radmeter") == "(42,)\n"
    assert chroot.run("dpkg --verify radmeter radmeter-archive") in ("", "??5??????   /usr/share/doc\n")
    chroot.run("apt-get purge -y radmeter radmeter-archive")
    assert (
        chroot.run("ls -d /opt/radmeter /etc/radmeter /var/lib/radmeter /usr/lib/radmeter || true").count(
            "cannot access"
        )
        == 4
    )


def test_what_lintian_and_systemd_say(built: tuple[str, list[Path]], chroot: Chroot) -> None:
    release = built[0]
    # Not of radmeter-archive: Arrow's libraries take lintian minutes.
    said = chroot.run(f"lintian --allow-root --fail-on none --no-cfg {package(release, 'radmeter', 1)}")
    assert [line for line in said.splitlines() if line.startswith(("E:", "W:"))] == []
    chroot.run(f"apt-get install -y --no-install-recommends {package(release, 'radmeter', 1)}")
    for unit in UNITS:
        said = chroot.run(f"systemd-analyze verify --man=yes /usr/lib/systemd/system/{unit}.service")
        assert [line for line in said.splitlines() if "/freeradius.service:" not in line] == []
        said = chroot.run(f"systemd-analyze security --offline=true --threshold=30 {unit}.service")
        (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert float(level) < 3
    # Both rotate files of one directory: logrotate refuses a file that two of them name.
    chroot.run(
        "d=/var/log/freeradius/radacct/radmeter-quarantine; install -d -o freerad -g freerad $d;"
        "for f in detail detail.full; do echo x > $d/$f; chown freerad: $d/$f; done"
    )
    chroot.run("logrotate --force /etc/logrotate.conf")
    there = chroot.run("ls /var/log/freeradius/radacct/radmeter-quarantine").split()
    assert there == ["detail.1", "detail.full.1.gz"]


# radiusd's user owns the quarantine file's directory. Its lease stops logrotate where it opens the file, and then the
# directory is another one.
SWAP = """
import fcntl, os, signal
directory = "/var/log/freeradius/radacct/radmeter-quarantine"
descriptor = os.open(directory + "/detail.full", os.O_RDWR)
def swap(*_):
    os.rename(directory, directory + ".away")
    os.symlink("/etc/bash_completion.d", directory)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    print("swapped", flush=True)
signal.signal(signal.SIGIO, swap)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_logrotate_is_not_led_elsewhere(
    built: tuple[str, list[Path]], chroot: Chroot, tmp_path: Path
) -> None:
    rotate = "/etc/logrotate.d/radmeter"
    # Without FreeRADIUS there is no such user, and logrotate fails for an unknown one.
    chroot.run("usermod -l away freerad && groupmod -n away freerad")
    chroot.run(f"apt-get install -y --no-install-recommends {package(built[0], 'radmeter', 1)}")
    chroot.run(f"ls {rotate}", fails=True)
    chroot.run("usermod -l freerad away && groupmod -n freerad away")
    # What FreeRADIUS's installation does.
    chroot.run("dpkg-trigger --by-package=freeradius /usr/sbin/freeradius; dpkg --configure --pending")
    assert "su freerad freerad" in chroot.run(f"cat {rotate}")
    assert chroot.run(f"stat -c %U {JOURNAL}") == "freerad\n"
    chroot.run(
        "d=/var/log/freeradius/radacct/radmeter-quarantine; mkdir -p /etc/bash_completion.d;"
        "install -d -o freerad -g freerad ${d%/*} $d; echo x > $d/detail.full; chown freerad: $d/detail.full"
    )
    (chroot.shared / "swap.py").write_text(SWAP, encoding="utf-8")
    log = tmp_path / "swap.log"
    chroot.start(f"exec python3 {SHARED}/swap.py", log, "freerad", "freerad", {})
    deadline = time.monotonic() + 60
    while "ready" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    chroot.run(f"! logrotate --force {rotate}")
    assert "swapped" in log.read_text()
    assert chroot.run("find /etc/bash_completion.d -name 'detail*'") == ""


def test_the_manual_and_completion(built: tuple[str, list[Path]], chroot: Chroot) -> None:
    chroot.run(f"apt-get install -y --no-install-recommends {package(built[0], 'radmeter', 1)}")
    pages = chroot.run("ls /usr/share/man/man1/ | grep ^radmeter | sed 's/.1.gz$//'").split()
    assert {"radmeter", "radmeter-ship", "radmeter-usage-user", "radmeter-freeradius-install"} <= set(pages)
    assert (
        chroot.run(
            "for f in /usr/share/man/man1/radmeter*; do man --warnings -E UTF-8 -l -Tutf8 $f 2>&1 >/dev/null; done"
        )
        == ""
    )
    page = chroot.run("MANWIDTH=80 man -P cat -l /usr/share/man/man1/radmeter-usage-user.1.gz")
    assert "radmeter usage user" in page
    assert "--periods" in page
    # Each shell asks the command itself.
    load = (
        "source /usr/share/bash-completion/bash_completion; _comp_load radmeter || __load_completion radmeter"
    )
    ask = "COMP_WORDS=(radmeter mig) COMP_CWORD=1; _radmeter_completion radmeter mig radmeter"
    assert chroot.run(f"set +eu; {load}; {ask}; echo ${{COMPREPLY[@]}}").split()[-1] == "migrate"
    assert chroot.run("fish -c 'complete -C \"radmeter mig\"'").split()[0] == "migrate"
    zsh = "autoload -U compinit; compinit -u; echo $_comps[radmeter]"
    assert chroot.run(f"zsh -c {shlex.quote(zsh)}").split() == ["_radmeter"]
