"""What reaches beyond a transaction, and where: behind a pooler of transactions it would be another program's.

Connections that are opened with ``any_pooler`` may run behind such a pooler. So they run none of what is found here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What the server keeps for a session. A function's own `SET name = value` lasts only while the function runs.
LASTING = {
    "advisory lock": r"pg_(?:try_)?advisory_lock(?:_shared)?\(",
    "setting": r"^\s*(?:RE)?SET (?!LOCAL|TRANSACTION|SCHEMA|DEFAULT|NOT NULL)(?:\w|\{\})",
    "set_config": r"set_config\([^)]*false\)",
    "temporary table": r"CREATE TEMP(?:ORARY)? TABLE(?![^;]*ON COMMIT DROP)",
    "notification": r"\b(?:UN)?LISTEN \w|pg_notify\(",
    "prepared statement": r"\bPREPARE \w+(?: \(|\.| AS)",
    "cursor": r"WITH HOLD|withhold=True",
}
# Each place, and why it does no harm behind a pooler of transactions.
REFUSED = "its connection needs a session: a pooler of transactions is refused"
SENT = "PostgreSQL delivers it to those who listen, whoever's session it comes from"
KNOWN = {
    ("sql/functions/quotas/apply_quotas.sql", "notification"): SENT,
    ("sql/functions/quotas/request_disconnect.sql", "notification"): SENT,
    ("sql/functions/quotas/retry_requests.sql", "notification"): SENT,
    ("sql/functions/quotas/set_router_coa.sql", "notification"): SENT,
    ("src/radmeter/database/advisory_locks.py", "advisory lock"): REFUSED,
    ("src/radmeter/database/connection.py", "setting"): "only on a session, else with LOCAL",
    ("src/radmeter/database/connection.py", "set_config"): "only on a session, else with true",
    ("src/radmeter/database/operator.py", "set_config"): REFUSED,
    ("src/radmeter/database/lock_retries.py", "setting"): REFUSED,
    ("src/radmeter/database/lock_retries.py", "set_config"): REFUSED,
    ("src/radmeter/database/settings.py", "set_config"): "only on a session, else with LOCAL",
    (
        "src/radmeter/database/waiting.py",
        "setting",
    ): "on a connection of its own, behind a pooler of sessions at most",
    ("src/radmeter/database/transactions.py", "setting"): "only on a session, else with LOCAL",
    ("src/radmeter/api/noc/examining.py", "setting"): REFUSED,
    ("src/radmeter/doctor/runner.py", "setting"): REFUSED,
    ("src/radmeter/adoption/backfill_runner.py", "setting"): REFUSED,
    ("src/radmeter/schema/ownership.py", "setting"): REFUSED,
    ("src/radmeter/schema/guarantees.py", "prepared statement"): REFUSED,
    ("src/radmeter/adoption/adopt.py", "setting"): REFUSED,
    ("src/radmeter/adoption/parent.py", "setting"): REFUSED,
    ("src/radmeter/people/clearing.py", "cursor"): REFUSED,
    ("src/radmeter/people/erasure.py", "cursor"): REFUSED,
    ("src/radmeter/routers/changes.py", "cursor"): REFUSED,
    ("src/radmeter/jobs/lease.py", "setting"): REFUSED,
    (
        "sql/functions/ingest/create_incoming.sql",
        "temporary table",
    ): "of the role; prepare_incoming empties it first",
    (
        "sql/functions/ingest/create_staged.sql",
        "temporary table",
    ): "of the role; stage empties it first",
}
# The calls that open a connection for any pooler. Before you add one, read what runs on it.
ANY_POOLER = {
    "src/radmeter/api/noc/host.py",  # reads a statement, with settings of the transaction
    "src/radmeter/api/server.py",  # asks for its rights
    "src/radmeter/cli/router_coa.py",
    "src/radmeter/freeradius/login_trial.py",  # as FreeRADIUS logs in
    "src/radmeter/metrics/figures.py",
    "src/radmeter/cli/webhooks.py",
    "src/radmeter/webhooks/sender.py",
    "src/radmeter/alerts/mail_queue.py",
    "src/radmeter/quotas/worker.py",
    "src/radmeter/cli/common.py",  # asks a standby how far it is behind
    "src/radmeter/cli/journal.py",
    "src/radmeter/cli/journal_incidents.py",
    "src/radmeter/cli/limits.py",
    "src/radmeter/cli/login.py",
    "src/radmeter/cli/partitions.py",
    "src/radmeter/cli/reach.py",
    "src/radmeter/cli/rejected.py",
    "src/radmeter/cli/tenant_logins.py",
    "src/radmeter/doctor/service_trial.py",  # it reads once
    "src/radmeter/database/views.py",  # the reading commands
    "src/radmeter/ingest/store.py",
}


def texts(file: Path) -> Iterator[str]:
    """Yield what a file sends to the server: all of SQL, the strings of Python, and its calls."""
    source = file.read_text(encoding="utf-8")
    if file.suffix == ".sql":
        source = re.sub(r"^\s*--.*$", "", source, flags=re.MULTILINE)
        # Settings of a function stand before its body.
        yield re.sub(r"^LANGUAGE.*?^(?:AS|RETURN|BEGIN)", "", source, flags=re.MULTILINE | re.DOTALL)
        return
    tree = ast.parse(source)
    notes = {  # and parts of what is read as a whole
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if id(node) in notes:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
            notes |= set(map(id, node.values))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.keyword) and node.arg == "withhold":
            yield f"withhold={ast.unparse(node.value)}"


def lasting(file: Path) -> set[str]:
    return {
        kind
        for text in texts(file)
        for kind, pattern in LASTING.items()
        if re.search(pattern, text, re.MULTILINE)
        # Part of an UPDATE, over several lines.
        and not (kind == "setting" and re.search(r"\bUPDATE\b", text))
    }


def files() -> list[Path]:
    inside = [*(ROOT / "src").rglob("*.py"), *(ROOT / "sql").rglob("*.sql")]
    # The plugin has no database. Revisions run in `migrate`, whose connection needs a session.
    return [
        file
        for file in inside
        if "plugin" not in file.parts and "versions" not in file.parts and file.parent.name != "decimal"
    ]


def test_what_outlasts_a_transaction_is_known() -> None:
    found = {(str(file.relative_to(ROOT)), kind) for file in files() for kind in lasting(file)}
    assert found == KNOWN.keys()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("advisory lock", "SELECT pg_advisory_lock(1)"),
        ("advisory lock", "SELECT pg_try_advisory_lock_shared(1)"),
        ("setting", "SET statement_timeout = 0"),
        ("setting", "RESET lock_timeout"),
        ("setting", "SET ROLE someone"),
        ("set_config", "SELECT set_config('a', 'b', false)"),
        ("temporary table", "CREATE TEMPORARY TABLE t (a int)"),
        ("notification", "LISTEN changes"),
        ("prepared statement", "PREPARE one AS SELECT 1"),
        ("cursor", "DECLARE c CURSOR WITH HOLD FOR SELECT 1"),
    ],
)
def test_each_kind_is_found(tmp_path: Path, kind: str, text: str) -> None:
    (tmp_path / "a.py").write_text(f"execute({text!r})\n")
    assert lasting(tmp_path / "a.py") == {kind}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT pg_advisory_xact_lock(1)",
        "SET LOCAL lock_timeout = 0",
        "SELECT set_config('a', 'b', true)",
        "CREATE TEMPORARY TABLE t (a int) ON COMMIT DROP",
        "UPDATE t\nSET a = 1",
    ],
)
def test_what_ends_with_the_transaction_is_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(f"execute({text!r})\n")
    assert lasting(tmp_path / "a.py") == set()


def test_the_connections_for_any_pooler_are_known() -> None:
    found = {
        str(file.relative_to(ROOT))
        for file in files()
        if file.suffix == ".py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "any_pooler"
    }
    assert found == ANY_POOLER
