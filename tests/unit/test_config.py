"""Settings: an option wins over the environment, the environment over the default. Each value shows its source."""

from pathlib import Path

import pytest

from radmeter.config import ALL, LIBPQ_VARIABLES, Settings
from radmeter.database.dsn import parse, redacted
from radmeter.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def test_without_anything_the_defaults_are_in_force() -> None:
    settings = Settings.load({})
    assert settings.state == ROOT / "var"
    assert settings.journal == ROOT / "var" / "journal"
    assert settings.dsn is None
    assert (settings.sync, settings.sync_interval_ms) == ("packet", 5)
    assert settings.scheduling == "auto"
    assert (settings.segment_bytes, settings.journal_limit_bytes) == (64 << 20, 8 << 30)
    assert (settings.batch_records, settings.batch_ms) == (1000, 50)
    assert (settings.timezone, settings.stale_minutes) == ("UTC", 10)
    assert (settings.acct_host, settings.acct_port, settings.secret) == ("127.0.0.1", 1813, "testing123")
    assert {settings.source(setting.name) for setting in ALL} == {"default"}


def test_the_environment_wins_over_the_default_and_an_option_over_both() -> None:
    environ = {"RADMETER_SYNC": "interval", "RADMETER_BATCH_MS": "7"}
    settings = Settings.load(environ, batch_ms=9, batch_records=None)
    assert (settings.sync, settings.source("sync")) == ("interval", "RADMETER_SYNC")
    assert (settings.batch_ms, settings.source("batch_ms")) == (9, "--batch-ms")
    assert (settings.batch_records, settings.source("batch_records")) == (1000, "default")


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = Settings.load({"RADMETER_SYNC": "", "RADMETER_DSN": ""})
    assert settings.sync == "packet"
    assert settings.dsn is None


def test_the_journal_follows_the_state_directory_unless_it_is_set(tmp_path: Path) -> None:
    assert Settings.load({"RADMETER_STATE": str(tmp_path)}).journal == tmp_path / "journal"
    assert Settings.load({"RADMETER_JOURNAL": "/elsewhere"}, state=tmp_path).journal == Path("/elsewhere")
    assert Settings.load({"RADMETER_STATE": "/with {braces}"}).journal == Path("/with {braces}/journal")


@pytest.mark.parametrize("variable", LIBPQ_VARIABLES)
def test_libpqs_own_variables_mean_the_operators_own_server(variable: str) -> None:
    settings = Settings.load({variable: "something"})
    assert (settings.dsn, settings.source("dsn")) == ("", variable)


def test_a_dsn_wins_over_libpqs_variables() -> None:
    settings = Settings.load({"PGHOST": "other", "RADMETER_DSN": "host=db"})
    assert (settings.dsn, settings.source("dsn")) == ("host=db", "RADMETER_DSN")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("RADMETER_SYNC", "always", "RADMETER_SYNC 'always': allowed is packet or interval"),
        # What int() takes and the plugin does not.
        (
            "RADMETER_SEGMENT_BYTES",
            "67_108_864",
            "RADMETER_SEGMENT_BYTES '67_108_864': allowed is an integer from ",
        ),
        (
            "RADMETER_SEGMENT_BYTES",
            " 67108864",
            "RADMETER_SEGMENT_BYTES ' 67108864': allowed is an integer from ",
        ),
        (
            "RADMETER_SCHEDULING",
            "fast",
            "RADMETER_SCHEDULING 'fast': allowed is auto or realtime or short or normal",
        ),
        ("RADMETER_BATCH_RECORDS", "0", "RADMETER_BATCH_RECORDS '0': allowed is an integer from 1 to 100000"),
        ("RADMETER_BATCH_MS", "x", "RADMETER_BATCH_MS 'x': allowed is an integer from 0 to 60000"),
        ("RADIUS_ACCT_PORT", "65536", "RADIUS_ACCT_PORT '65536': allowed is an integer from 1 to 65535"),
        (
            "RADMETER_TIMEZONE",
            "Berlin",
            "RADMETER_TIMEZONE 'Berlin': allowed is the name of an IANA time zone",
        ),
        ("RADMETER_TIMEZONE", "../../etc/passwd", "allowed is the name of an IANA time zone"),
        ("RADIUS_ACCT_HOST", "a\nb", "printable"),
    ],
)
def test_a_bad_value_is_an_error_with_variable_value_and_what_is_allowed(
    variable: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({variable: value})
    assert message in str(caught.value)


def test_a_bad_option_is_named_as_the_option() -> None:
    with pytest.raises(ConfigurationError, match="--sync 'always'"):
        Settings.load({}, sync="always")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("RADMETER_DSN", "postgresql+psycopg://user:hunter2@h/d"), ("RADIUS_SECRET", 'hunter2"')],
)
def test_an_error_about_a_secret_does_not_tell_it(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({variable: value})
    assert variable in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:hunter2@one:5432,two/db?target_session_attrs=read-write",
        "host=one,two dbname=db password=hunter2 target_session_attrs=read-write",
        "host=one,two dbname=db sslpassword=hunter2 target_session_attrs=read-write",
        "host=one,two dbname=db password='hunter2 hunter2' target_session_attrs=read-write",
    ],
)
def test_a_dsn_is_shown_without_its_password(dsn: str) -> None:
    assert "hunter2" not in redacted(dsn)
    for part in ("host=one,two", "dbname=db", "target_session_attrs=read-write"):
        assert part in redacted(dsn)


def test_what_is_not_a_dsn_is_not_shown_at_all() -> None:
    assert redacted("://hunter2") == "***"


def test_no_display_of_the_settings_tells_a_password() -> None:
    settings = Settings.load({"RADMETER_DSN": "host=h password=hunter2", "RADIUS_SECRET": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str([row.value for row in settings.in_force()])


def test_another_process_with_the_environment_has_the_same_settings(tmp_path: Path) -> None:
    settings = Settings.load(
        {"RADMETER_DSN": "host=h"}, state=tmp_path, sync="interval", acct_port=2000, secret="s p a c e"
    )
    assert Settings.load(settings.environment()) == settings
    assert "RADMETER_DSN" not in Settings.load({}).environment()
    assert "RADMETER_DSN" not in Settings.load({"PGHOST": "h"}).environment()


def test_every_setting_has_a_variable_a_meaning_and_an_option() -> None:
    assert len({setting.variable for setting in ALL}) == len(ALL)
    for setting in ALL:
        assert setting.variable.startswith(("RADMETER_", "RADIUS_"))
        assert setting.meaning
        assert setting.option.startswith("--")


def test_a_misspelt_override_is_a_type_error_and_not_ignored() -> None:
    with pytest.raises(TypeError, match="sink"):
        Settings.load({}, sink="packet")


def test_a_password_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("it's a secret\n")
    environ = {"RADMETER_PASSWORD_FILE": str(path)}
    settings = Settings.load({**environ, "RADMETER_DSN": "postgresql://ship@db/radius"})
    assert settings.dsn is not None
    assert parse(settings.dsn) == {
        "user": "ship",
        "host": "db",
        "dbname": "radius",
        "password": "it's a secret",
    }
    assert "secret" not in " ".join(row.value for row in settings.in_force() if row.name == "dsn")
    assert "RADMETER_PASSWORD_FILE" not in settings.environment()
    libpq = Settings.load({**environ, "PGHOST": "db"})
    assert libpq.dsn is not None
    assert parse(libpq.dsn) == {"password": "it's a secret"}


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), ("", "one line"), ("a\nb\n", "one line")]
)
def test_a_password_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"RADMETER_PASSWORD_FILE: .*{message}"):
        Settings.load({"RADMETER_PASSWORD_FILE": str(path), "RADMETER_DSN": "host=db"})


def test_a_password_for_no_database_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RADMETER_PASSWORD_FILE: there is no database"):
        Settings.load({"RADMETER_PASSWORD_FILE": str(tmp_path / "password")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "radmeter.toml"


def test_the_file_wins_over_the_default_and_the_environment_over_the_file(file: Path) -> None:
    file.write_text('sync = "interval"\nbatch_ms = 7\nstate = "/srv/state"\n[ship]\nbatch_records = 5\n')
    settings = Settings.load({"RADMETER_CONFIG": str(file), "RADMETER_BATCH_MS": "8"}, program="ship")
    assert settings.file == file
    assert (settings.sync, settings.source("sync")) == ("interval", str(file))
    assert (settings.batch_ms, settings.source("batch_ms")) == (8, "RADMETER_BATCH_MS")
    assert (settings.batch_records, settings.source("batch_records")) == (5, f"{file} [ship]")
    assert (settings.journal, settings.source("journal")) == (Path("/srv/state/journal"), "default")
    jobs = Settings.load({}, config=str(file), program="jobs", batch_ms=9)
    assert (jobs.batch_ms, jobs.batch_records) == (9, 1000)
    assert (jobs.source("file"), settings.source("file")) == ("--config", "RADMETER_CONFIG")


def test_a_bad_value_of_the_file_is_named_with_its_key(file: Path) -> None:
    for text, said in (
        ('sync = "always"', f"{file}: sync 'always': allowed is packet or interval"),
        ("[ship]\nbatch_ms = -1", f"{file} [ship]: batch_ms '-1': allowed is an integer from 0 to 60000"),
        ('journal = "var/journal"', f"{file}: journal 'var/journal': allowed is an absolute path"),
        ('dsn = "postgresql+psycopg://u:hunter2@h"', f"{file}: dsn: allowed is a libpq connection string"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            Settings.load({}, config=str(file), program="ship")
        assert str(caught.value).startswith(said)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("dsn", "postgresql://u:hunter2@h/d"),
        ("dsn", "host=h sslpassword=hunter2"),
        ("read_dsn", "host=h password=hunter2"),
        ("secret", "hunter2"),
    ],
)
def test_a_file_that_everybody_can_read_has_no_secret(file: Path, key: str, text: str) -> None:
    file.write_text(f'dsn = "host=h"\n{key} = "{text}"\n' if key != "dsn" else f'dsn = "{text}"\n')
    file.chmod(0o644)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({}, config=str(file))
    assert f"{file}: {key}: every user of this machine can read the file" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    file.chmod(0o640)
    assert getattr(Settings.load({}, config=str(file)), key) == text


def test_secrets_come_from_files_of_the_program_that_uses_them(file: Path, tmp_path: Path) -> None:
    for name in ("ship", "jobs", "radius"):
        (tmp_path / name).write_text(f"secret of {name}\n")
    file.write_text(
        f"""dsn = "host=db user=noc"
            secret_file = "{tmp_path / "radius"}"
            [ship]
            dsn = "host=db user=ship"
            password_file = "{tmp_path / "ship"}"
            [jobs]
            password_file = "/nonexistent/jobs"
        """
    )
    ship = Settings.load({}, config=str(file), program="ship", uses=("dsn",))
    assert ship.dsn is not None
    assert parse(ship.dsn) == {"host": "db", "user": "ship", "password": "secret of ship"}
    assert ship.secret == "testing123", "it does not use the secret, and need not be able to read it"
    assert Settings.load({}, config=str(file)).secret == "secret of radius"
    assert Settings.load({"RADIUS_SECRET": "other"}, config=str(file)).secret == "other"
    assert Settings.load({}, config=str(file), program="jobs", uses=("secret",)).secret == "secret of radius"
    with pytest.raises(
        ConfigurationError, match=r"\[jobs\]: password_file: the password in /nonexistent/jobs"
    ):
        Settings.load({}, config=str(file), program="jobs")
    assert "secret of" not in str([row.value for row in Settings.load({}, config=str(file)).in_force()])


def test_the_files_standby_and_password_are_not_for_another_database(file: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    file.write_text(
        f'dsn = "host=db"\nread_dsn = "host=standby"\npassword_file = "{tmp_path / "password"}"\n'
    )
    ours = Settings.load({}, config=str(file))
    assert (ours.dsn, ours.read_dsn) == ("host=db password=hunter2", "host=standby password=hunter2")
    for other in (
        Settings.load({"RADMETER_DSN": "host=other"}, config=str(file)),
        Settings.load({"PGHOST": "other"}, config=str(file)),
        Settings.load({}, config=str(file), dsn="host=other"),
    ):
        assert (other.read_dsn, other.password_file) == (None, None)
        assert other.dsn in ("host=other", "")
    standby = Settings.load({"RADMETER_READ_DSN": "host=third"}, config=str(file))
    assert (standby.dsn, standby.read_dsn) == ("host=db password=hunter2", "host=third")


def test_another_process_with_the_environment_reads_no_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of a file")
    file.write_text(f'journal = "/srv"\ndsn = "host=h"\nsecret_file = "{tmp_path / "secret"}"\n')
    settings = Settings.load({}, config=str(file))
    assert Settings.load(settings.environment()).override("x", secret_file=settings.secret_file) == settings
    assert Settings.load(settings.environment()).file is None
