"""Runs the services of docker-compose.yml without Docker, as it would confine them. Only root can do that.

Each service gets a root directory of its own, mounted read-only, its own volumes, secrets, environment and user, no
capabilities and no new privileges. All services share a network with no way out, so they use the ports of the file.

The image is not built: its root has this machine's /usr, and radmeter with what it requires in /opt/radmeter. The image
of PostgreSQL is replaced by the embedded PostgreSQL and a short script that does what the image's own does.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, Self

import yaml
from packaging.requirements import Requirement

import radmeter
from radmeter import resources
from radmeter.embedded.programs import binaries
from radmeter.supervisor import end_with_parent

ROOT = Path(__file__).parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Users of the images by name: of PostgreSQL's, by its Dockerfile.
USERS = {"postgres": "999:999"}
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
PROGRAMS = ("ip", "nsenter", "unshare", "setpriv", "prlimit", "chroot", "mount")

# What the entry script of PostgreSQL's image does for an empty directory, and then.
POSTGRES = """
set -eu
export PGDATA=/var/lib/postgresql/18/docker LC_ALL=C.UTF-8
settings="-c unix_socket_directories=/run/postgresql -c fsync=off"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256 --no-sync
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --log=/tmp/first -o "$settings -c listen_addresses=" start
    psql --host=/run/postgresql --username=postgres --command="CREATE DATABASE $POSTGRES_DB"
    pg_ctl --wait stop
fi
exec postgres $settings -c 'listen_addresses=*'
"""


class MissingVariable(Exception):
    """The file requires a variable that is not set, as `docker compose` says it."""


def missing() -> str:
    """Return why services cannot be run here; an empty string if they can."""
    if os.geteuid() != 0:
        return "only root can mount, change users and make networks"
    lost = [name for name in PROGRAMS if shutil.which(name) is None]
    if lost:
        return f"not installed: {', '.join(lost)}"
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False)
    return tried.stderr.decode().strip()


def load(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the file as `docker compose` reads it, with variables filled in.

    Raises
    ------
    MissingVariable
        A required one is not set.
    """

    def fill(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if environment.get(name):
            return environment[name]
        if kind == "?":
            raise MissingVariable(f"required variable {name} is missing a value: {text}")
        return text or ""

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return VARIABLE.sub(fill, value)
        if isinstance(value, list):
            return [filled(each) for each in value]
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        return value

    loaded: dict[str, Any] = filled(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
    return loaded


def image_environment() -> dict[str, str]:
    """Return the variables of the Dockerfile."""
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    values = {}
    for line in re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE):
        for word in shlex.split(line):
            name, _, value = word.partition("=")
            values[name] = value.replace("$PATH", PATH)
    return values


class Compose:
    """The services of the file, in a directory."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = dict(environment)
        self.file = load(environment)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._network: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        _make_image(self.directory / "image")
        self._network = subprocess.Popen(
            ["unshare", "--net", "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: end_with_parent(signal.SIGKILL),
        )
        ours = Path("/proc/self/ns/net").readlink()
        deadline = time.monotonic() + 60
        while Path(f"/proc/{self._network.pid}/ns/net").readlink() == ours:
            assert time.monotonic() < deadline, "no network of its own"
            time.sleep(0.01)
        subprocess.run([*self._in_network(), "ip", "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.running.values(), *([self._network] if self._network else [])]:
            process.kill()
            process.wait()
        for name in self.running:
            print(
                f"{name}:", *self.log(name).splitlines()[-20:], sep="\n  "
            )  # pytest shows it if the test fails

    def start(self, service: str) -> int:
        """Start a service; return its process id."""
        with self._log(service).open("ab") as log:
            self.running[service] = subprocess.Popen(
                self._command(service, self._words(service)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: end_with_parent(signal.SIGKILL),
            )
        return self.running[service].pid

    def run(self, service: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of a service, by default its own, and wait for its end."""
        return subprocess.run(
            self._command(service, words or self._words(service), environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def healthy(self, service: str) -> bool:
        """Run the health check of a service once."""
        _, *words = self.file["services"][service]["healthcheck"]["test"]
        return self.run(service, *words).returncode == 0

    def await_healthy(self, service: str) -> None:
        """Wait until a service is healthy; fail if it ends before."""
        deadline = time.monotonic() + 120
        while not self.healthy(service):
            assert self.running[service].poll() is None, self.log(service)
            assert time.monotonic() < deadline, self.log(service)
            time.sleep(0.1)

    def log(self, service: str) -> str:
        """Return what a service has written."""
        return self._log(service).read_text(errors="replace")

    def _log(self, service: str) -> Path:
        return self.directory / f"{service}.log"

    def _in_network(self) -> list[str]:
        assert self._network is not None
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", "--"]

    def _words(self, service: str) -> list[str]:
        if service == "postgres":
            return ["sh", "-c", POSTGRES]
        words: list[str] = self.file["services"][service]["command"]
        return words

    def _command(
        self, service: str, words: tuple[str, ...] | list[str], environment: Mapping[str, str] | None = None
    ) -> list[str]:
        about = self.file["services"][service]
        uid, gid = USERS.get(about["user"], about["user"]).split(":")
        variables = {**image_environment(), **about.get("environment", {}), **(environment or {})}
        if service == "postgres":
            variables["PATH"] = f"/opt/postgresql/{binaries().relative_to(_site())}:{PATH}"
        confine = ["chroot", str(self._root(service))]
        limits = ["prlimit", *(f"--{name}={value}" for name, value in about.get("ulimits", {}).items())]
        # Without CAP_SYS_RESOURCE a limit cannot be raised, as in rootless Docker. Real-time is then not permitted.
        if subprocess.run([*limits, "true"], capture_output=True, check=False).returncode == 0:
            confine += limits
        confine += ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--pdeathsig=KILL"]
        if "no-new-privileges:true" in about.get("security_opt", []):
            confine.append("--no-new-privs")
        kept = "".join(f",+{name.lower()}" for name in about.get("cap_add", []))
        if about.get("cap_drop") == ["ALL"]:
            confine += [f"--{kind}=-all{kept}" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
        confine += ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *words]
        script = "\n".join(["set -e", *self._mounts(service), "exec " + shlex.join(confine)])
        return [*self._in_network(), "unshare", "--mount", "--propagation=private", "sh", "-c", script]

    def _root(self, service: str) -> Path:
        root = self.directory / f"root-{service}"
        root.mkdir(exist_ok=True)
        return root

    def _mounts(self, service: str) -> list[str]:
        """Return the commands that put a container's root together."""
        about, root = self.file["services"][service], self._root(service)
        mounts = [f"mount --bind {_q(self.directory / 'image')} {_q(root)}"]
        base = Path(sys.base_prefix)
        for source, place in {
            Path("/usr"): Path("/usr"),
            **({_site(): Path("/opt/postgresql")} if service == "postgres" else {}),
            **({} if base.is_relative_to("/usr") else {base: base}),
        }.items():
            mounts.append(f"mount --bind {_q(source)} {_q(root)}{_q(place)}")
            mounts.append(f"mount -o remount,bind,ro {_q(root)}{_q(place)}")
        mounts += [f"mount --rbind /{name} {_q(root)}/{name}" for name in ("proc", "dev")]
        mounts.append(f"mount -t tmpfs -o mode=0755 tmpfs {_q(root)}/run/secrets")
        for name in about.get("secrets", []):
            source = self.file["secrets"][name]["file"]
            mounts.append(f"touch {_q(root)}/run/secrets/{name}")
            mounts.append(f"mount --bind {_q(source)} {_q(root)}/run/secrets/{name}")
            mounts.append(f"mount -o remount,bind,ro {_q(root)}/run/secrets/{name}")
        mounts.append(f"mount -o remount,bind,ro {_q(root)}/run/secrets")
        mounts += [f"mount -t tmpfs -o mode=1777 tmpfs {_q(root)}{place}" for place in about.get("tmpfs", [])]
        for volume in about.get("volumes", []):
            name, place, *options = volume.split(":")
            mounts.append(f"mount --bind {_q(self._volume(name, place))} {_q(root)}{place}")
            mounts += [f"mount -o remount,bind,ro {_q(root)}{place}"] if options == ["ro"] else []
        hosts = self.directory / f"hosts-{service}"
        near = [
            other
            for other, each in self.file["services"].items()
            if set(each["networks"]) & set(about["networks"])
        ]
        hosts.write_text(f"127.0.0.1 localhost {' '.join(near)}\n")
        mounts.append(f"mount --bind {_q(hosts)} {_q(root)}/etc/hosts")
        mounts.append(f"mount -o remount,bind,ro {_q(root)}/etc/hosts")
        if about.get("read_only"):
            mounts.append(f"mount -o remount,bind,ro {_q(root)}")
        return mounts

    def _volume(self, name: str, place: str) -> Path:
        """Return a volume's directory. A new one gets the content and the owner of what it covers in the image."""
        volume = self.directory / "volumes" / name
        if not volume.exists():
            covered = self.directory / "image" / place.lstrip("/")
            shutil.copytree(covered, volume)
            for path in [covered, *covered.rglob("*")]:
                os.chown(volume / path.relative_to(covered), path.stat().st_uid, path.stat().st_gid)
        return volume


def _site() -> Path:
    """Return the directory with the embedded PostgreSQL and, beside it, its libraries."""
    return binaries().parents[2]


def _q(path: Path | str) -> str:
    return shlex.quote(str(path))


def _make_image(image: Path) -> None:
    """Make the root of the containers: what the Dockerfile installs, and empty places to mount on."""
    for name in ("usr", "proc", "dev", "tmp", "etc", "run/secrets", "run/postgresql", "opt/postgresql"):
        (image / name).mkdir(parents=True)
    (image / sys.base_prefix.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (image / name).symlink_to(Path("/", name).readlink())
    for name in ("ld.so.cache", "nsswitch.conf"):
        shutil.copy(f"/etc/{name}", image / "etc")
    # The users that the images have; the others are numbers.
    users = {"root": "0:0", "radmeter": "10001:10001", **USERS}
    (image / "etc" / "passwd").write_text(
        "".join(f"{user}:x:{ids}::/:/bin/sh\n" for user, ids in users.items())
    )
    (image / "etc" / "group").write_text(
        "".join(f"{user}:x:{ids.split(':')[1]}:\n" for user, ids in users.items())
    )
    (image / "etc" / "hosts").touch()
    site = _install(image / "opt" / "radmeter")
    shutil.copytree(site / "radmeter" / "radius", image / "etc" / "radmeter")
    with (image / "etc" / "radmeter" / "clients.conf").open("a") as clients:
        clients.write((image / "etc" / "radmeter" / "clients.container.conf").read_text())
    owner = int(re.findall(r"useradd --uid (\d+)", (ROOT / "Dockerfile").read_text())[0])
    for place, uid, mode in (
        ("var/lib/radmeter", owner, 0o750),
        ("var/lib/radmeter/run", owner, 0o750),
        ("var/lib/postgresql", 999, 0o1777),
    ):
        (image / place).mkdir(parents=True)
        (image / place).chmod(mode)
        os.chown(image / place, uid, uid)


def _install(prefix: Path) -> Path:
    """Make a virtual environment with radmeter and what it and its extras `coa` and `serve` require, as pip would."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    (site,) = prefix.glob("lib/python3*/site-packages")
    (prefix / "site-packages").symlink_to(site.relative_to(prefix))
    for each in _required("radmeter", {"coa", "serve"}):
        for file in each.files or []:
            source = Path(str(each.locate_file(file)))
            if ".." not in file.parts and source.is_file() and source.suffix != ".pyc":
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, site / file)
    package = Path(radmeter.__file__).parent
    shutil.copytree(package, site / "radmeter", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("sql", "radius"):
        if not (site / "radmeter" / name).exists():
            shutil.copytree(resources.directory(name), site / "radmeter" / name)
    script = prefix / "bin" / "radmeter"
    script.write_text("#!/opt/radmeter/bin/python3\nfrom radmeter.cli.main import main\nmain()\n")
    script.chmod(0o755)
    return site


def _required(name: str, extras: set[str]) -> list[Distribution]:
    found: dict[str, Distribution] = {}

    def add(name: str, extras: set[str]) -> None:
        for text in distribution(name).requires or []:
            each = Requirement(text)
            wanted = each.marker is None or any(
                each.marker.evaluate({"extra": extra}) for extra in extras or {""}
            )
            if wanted:
                new = each.name not in found
                found.setdefault(each.name, distribution(each.name))
                if new or each.extras:
                    add(each.name, {"", *each.extras} if new else set(each.extras))

    add(name, extras or {""})
    return list(found.values())
