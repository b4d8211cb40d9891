"""The services of docker-compose.yml, confined as the file says: they work, and have no more than they need."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import compose as services
from support.compose import Compose
from support.processes import eventually

SECRET = "a-secret-of-our-own"
LOGINS = {
    "radmeter_migrate": "radmeter_owner",
    "radmeter_jobs": "radmeter_owner",
    "radmeter_shipper": "radmeter_ingest",
    "radmeter_operator": "radmeter_noc",
    "radmeter_logins": "radmeter_login",
    "radmeter_http": "radmeter_api",
}
LASTING = ("freeradius", "logins", "shipper", "jobs", "serve")

pytestmark = pytest.mark.skipif(bool(services.missing()), reason=services.missing())


def make_secrets(directory: Path) -> Path:
    """Run scripts/secrets in a directory of its own; return the directory of the passwords."""
    (directory / "scripts").mkdir()
    script = shutil.copy(services.ROOT / "scripts" / "secrets", directory / "scripts")
    subprocess.run([script], check=True, env={"PATH": services.PATH})
    return directory / "secrets"


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """All services, up."""
    directory = tmp_path_factory.mktemp("compose")
    secrets = make_secrets(directory)
    with Compose(directory, {"RADIUS_SECRET": SECRET, "RADMETER_SECRETS": str(secrets)}) as compose:
        compose.start("postgres")
        compose.await_healthy("postgres")
        for name in ("roles", "migrate"):
            done = compose.run(name)
            assert done.returncode == 0, done.stderr
            assert "warning" not in done.stderr.lower()
        for name in LASTING:
            compose.start(name)
        for name in LASTING:
            compose.await_healthy(name)
        yield compose


def psql(compose: Compose, statement: str) -> list[list[str]]:
    """Run a statement as the superuser; return its rows."""
    code = (
        "import json, sys; from radmeter.config import Settings; from radmeter.database.connection import connect;"
        "print(json.dumps(connect(Settings.load().dsn).execute(sys.argv[1]).fetchall(), default=str))"
    )
    done = compose.run("roles", "python3", "-c", code, statement)
    assert done.returncode == 0, done.stderr
    return [list(row) for row in json.loads(done.stdout)]


def test_packets_are_counted(compose: Compose) -> None:
    done = compose.run(
        "freeradius", "radmeter", "simulate", "--host", "127.0.0.1", "--seconds", "2", "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    sent = {row["name"]: [row["bytes_in"], row["bytes_out"]] for row in json.loads(done.stdout)}
    users = {name: usage for name, usage in sent.items() if "guest" in name and any(usage)}
    assert users

    def counted() -> dict[str, list[int]]:
        rows = psql(compose, "SELECT username, bytes_in, bytes_out FROM public.user_quota_usage")
        return {str(name): [int(bytes_in), int(bytes_out)] for name, bytes_in, bytes_out in rows}

    eventually(counted, users)
    name = next(iter(users))
    shown = compose.run("operator", "radmeter", "usage", "user", name)
    assert shown.returncode == 0
    assert name in shown.stdout
    status = compose.run("operator")
    assert status.returncode == 0, status.stderr


def test_a_user_logs_in(compose: Compose) -> None:
    for line in (
        "plans add basic --quota 10MB --period monthly",
        "users add bob --plan basic --password secret",
        "routers add lobby --mac 02:00:00:00:00:01",
    ):
        done = compose.run("operator", "radmeter", *line.split())
        assert done.returncode == 0, done.stderr
    client = 'echo User-Name=bob,User-Password=secret | radclient 127.0.0.1:1812 auth "$RADIUS_SECRET"'
    done = compose.run("logins", "sh", "-c", client)
    assert "Received Access-Accept" in done.stdout, done
    assert compose.run("operator", "radmeter", "users", "suspend", "bob").returncode == 0
    done = compose.run("logins", "sh", "-c", client)
    assert "Received Access-Reject" in done.stdout, done


def test_the_jobs_decrypt_the_secret_that_an_operator_sets(compose: Compose) -> None:
    set_secret = (
        "file=$(mktemp -p /dev/shm) && echo router-secret >$file && "
        "radmeter routers set lobby --coa-address 127.0.0.1 --coa-secret-file $file; done=$?; rm $file; exit $done"
    )
    done = compose.run("operator", "sh", "-c", set_secret)
    assert done.returncode == 0, done.stderr
    code = (
        "import os, sys; from pathlib import Path; from radmeter.quotas.secrets import Keyring;"
        "print(Keyring(Path(os.environ['RADMETER_COA_KEY_FILE'])).decrypt(sys.argv[1]).decode())"
    )
    ((token,),) = psql(compose, "SELECT secret FROM radmeter.router_coa WHERE secret IS NOT NULL")
    assert compose.run("jobs", "python3", "-c", code, str(token)).stdout == "router-secret\n"


def test_the_server_answers_who_has_a_key(compose: Compose) -> None:
    done = compose.run("migrate", "radmeter", "keys", "add", "me", "--role", "noc")
    assert done.returncode == 0, done.stderr
    code = (
        "import sys, urllib.request as r; url = 'http://127.0.0.1:8320/';"
        "key = {'Authorization': 'Bearer ' + sys.argv[1]};"
        "print(r.urlopen(r.Request(url + 'api/v1/routers', headers=key), timeout=20).read().decode());"
        "print(r.urlopen(url + 'metrics', timeout=20).read().decode());"
        "print(r.urlopen(url, timeout=20).url)"
    )
    asked = compose.run("serve", "python3", "-c", code, done.stdout.strip())
    assert asked.returncode == 0, asked.stderr
    assert '"items":[' in asked.stdout
    assert "\nradmeter_database_up 1" in asked.stdout
    assert "http://127.0.0.1:8320/login" in asked.stdout


@pytest.mark.parametrize("name", ["postgres", *LASTING])
def test_a_process_has_no_privileges(compose: Compose, name: str) -> None:
    process = Path("/proc") / str(compose.running[name].pid)
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    user = services.USERS.get(compose.file["services"][name]["user"], compose.file["services"][name]["user"])
    assert set(lines["Uid"].split()) == {user.split(":")[0]}
    assert "0" not in lines["Uid"].split() + lines["Gid"].split()
    assert lines["NoNewPrivs"].strip() == "1"
    assert {int(lines[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}


def test_only_freeradius_knows_the_radius_secret(compose: Compose) -> None:
    for name in ("postgres", "shipper", "jobs"):
        environment = (Path("/proc") / str(compose.running[name].pid) / "environ").read_bytes()
        assert b"POSTGRES_DB" in environment or b"PGUSER" in environment
        assert SECRET.encode() not in environment
    for name in ("freeradius", "logins"):
        environment = (Path("/proc") / str(compose.running[name].pid) / "environ").read_bytes()
        assert SECRET.encode() in environment
    for name in ("roles", "migrate", "operator"):
        assert SECRET not in compose.run(name, "env").stdout


@pytest.mark.parametrize(
    "name", ["freeradius", "logins", "shipper", "jobs", "migrate", "roles", "operator", "postgres"]
)
def test_a_service_sees_its_own_secrets_and_writes_nowhere_else(compose: Compose, name: str) -> None:
    listed = compose.run(name, "ls", "/run/secrets").stdout.split()
    assert listed == sorted(compose.file["services"][name].get("secrets", []))
    places = ("/etc", "/usr", "/opt/radmeter", "/run/secrets", "/var/lib", "/var/lib/radmeter")
    script = 'for place; do if touch "$place/x" 2>/dev/null; then rm "$place/x"; echo "$place"; fi; done'
    writable = compose.run(name, "sh", "-c", script, "sh", *places).stdout.split()
    assert writable == (["/var/lib/radmeter"] if name in ("freeradius", "shipper") else [])


def test_after_migrate_nothing_logs_in_as_a_superuser(compose: Compose) -> None:
    rows = psql(
        compose,
        """SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication,
                  (SELECT string_agg(roleid::regrole::text, ',') FROM pg_auth_members WHERE member = pg_roles.oid)
           FROM pg_roles WHERE rolcanlogin""",
    )
    assert {name: group for name, powerful, group in rows if not powerful} == LOGINS
    assert [name for name, powerful, _ in rows if powerful] == ["postgres"]
    owners = psql(
        compose,
        """SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE nspname = 'radmeter' OR relname IN ('radacct', 'routers', 'user_quota_usage')""",
    )
    assert owners == [["radmeter_owner"]]
    using = psql(
        compose,
        """SELECT DISTINCT usename FROM pg_stat_activity WHERE backend_type = 'client backend'
           AND pid <> pg_backend_pid()""",
    )
    assert {name for (name,) in using} <= {
        "radmeter_shipper",
        "radmeter_jobs",
        "radmeter_logins",
        "radmeter_http",
    }


def test_the_one_time_services_may_run_again(compose: Compose) -> None:
    for name, said in (
        ("roles", "radmeter_shipper: its password is set again"),
        ("migrate", "nothing to do"),
    ):
        done = compose.run(name)
        assert done.returncode == 0
        assert said in done.stdout


def test_a_password_is_changed_by_its_file(compose: Compose) -> None:
    path = Path(compose.file["secrets"]["radmeter_operator"]["file"])
    before = path.read_text()
    path.write_text("another one\n")
    assert compose.run("operator").returncode != 0
    assert compose.run("roles").returncode == 0
    assert compose.run("operator").returncode == 0
    path.write_text(before)
    assert compose.run("roles").returncode == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"RADIUS_SECRET": "testing123", "RADIUS_PUBLISH": "192.0.2.1", "RADIUS_CLIENTS": "192.0.2.0/24"},
            "(RADIUS_SECRET) is the well-known 'testing123', and 192.0.2.1 (RADIUS_PUBLISH) is not loopback: "
            "set RADIUS_SECRET to a secret of your own, or RADIUS_PUBLISH to 127.0.0.1\n",
        ),
        (
            {"RADIUS_CLIENTS": "0.0.0.0/0", "RADIUS_PUBLISH": "0.0.0.0"},
            "takes packets from 0.0.0.0/0 (RADIUS_CLIENTS), and 0.0.0.0 (RADIUS_PUBLISH) is not loopback: "
            "set RADIUS_CLIENTS to the routers' network, such as 192.0.2.0/24, or RADIUS_PUBLISH to 127.0.0.1\n",
        ),
        (
            {"RADIUS_CLIENTS": "::/0", "RADIUS_PUBLISH": "[2001:db8::1]"},
            "takes packets from ::/0 (RADIUS_CLIENTS)",
        ),
    ],
)
def test_freeradius_refuses_to_be_open_to_strangers(
    compose: Compose, variables: dict[str, str], said: str
) -> None:
    done = compose.run("freeradius", **variables)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
