"""Every wait of the source is registered: it says what for, it is short, or nobody waits with it."""

import ast
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import radmeter
from radmeter import waits

PACKAGE = Path(radmeter.__file__).parent
# Methods and functions that wait. `join` of text is sorted out below.
WAITING = {
    "acquire",
    "communicate",
    "connect",
    "getaddrinfo",
    "join",
    "run",
    "select",
    "sleep",
    "wait",
    "waitpid",
}
WAITING |= {"flock", "cancel_safe"}

SHORT = "less than a second"
SAYS = "says itself what it waits for"
CALLER = "the caller says it"
SERVICE = "a service, whose log says what it does"
PERSON = "a person is at work meanwhile"
# Those that are not in a `with waits.waiting_for(..)`: file, function, call.
REGISTER = {
    ("adoption/backfill_runner.py", "Runner.fill", "time.sleep"): SAYS,
    ("adoption/backfill_runner.py", "Runner._again", "time.sleep"): SHORT,
    ("adoption/backfill_runner.py", "Runner._all", "wait"): SAYS,
    ("adoption/indexes.py", "progress_of.look", "done.wait"): SAYS,
    ("adoption/indexes.py", "progress_of", "thread.join"): SHORT,
    ("api/connection.py", "ApiConnection", "super().wait"): SERVICE,
    ("api/hub.py", "Hub", "asyncio.sleep"): SERVICE,
    ("api/hub.py", "Hub", "self._called.wait"): SERVICE,
    ("api/hub.py", "Listener", "self._there.wait"): SERVICE,
    ("api/shares.py", "Shares", "places.acquire"): SERVICE,
    ("api/stream.py", "Stream", "asyncio.wait"): SERVICE,
    ("api/stream.py", "Stream", "self._ending.wait"): SERVICE,
    ("cli/ship.py", "_wait_for_journal", "stop.wait"): SERVICE,
    ("cli/top.py", "top", "time.sleep"): SAYS,
    ("database/advisory_locks.py", "take_upgrade_lock", "time.sleep"): SAYS,
    ("database/lock_retries.py", "retry_until_locked", "time.sleep"): SAYS,
    ("database/lock_retries.py", "_followed.look", "done.wait"): SAYS,
    ("database/lock_retries.py", "_followed", "thread.join"): SHORT,
    ("database/lock_retries.py", "_seen.look", "done.wait"): SHORT,
    ("database/lock_retries.py", "_seen", "connected.wait"): SHORT,
    ("database/lock_retries.py", "_seen", "thread.join"): SHORT,
    ("database/pace.py", "Pacer.hold_back", "time.sleep"): SAYS,
    ("database/pace.py", "Pacer.watched", "watcher.join"): SHORT,
    ("database/pace.py", "Pacer._watch", "done.wait"): SAYS,
    ("database/poolers.py", "refuse_transaction_pooling", "WaitingConnection.connect"): SHORT,
    ("database/waiting.py", "WaitingConnection.wait", "super().wait"): SAYS,
    ("database/transactions.py", "TransactionsConnection.wait", "super().wait"): SAYS,
    ("database/waiting.py", "WaitingConnection._sign", "WaitingConnection.connect"): SAYS,
    ("database/waiting.py", "give_up", "connection.cancel_safe"): SAYS,
    ("database/waiting.py", "give_up", "cancel.join"): SAYS,
    ("database/waiting.py", "answer", "connection.wait"): SAYS,
    ("database/waiting.py", "copied", "connection.wait"): SAYS,
    ("database/backups.py", "stanzas", "subprocess.run"): CALLER,
    ("database/copying.py", "blocks", "connection.wait"): SAYS,
    ("doctor/activity.py", "_held", "time.sleep"): SHORT,
    ("embedded/keeper.py", "Keeper._initialise", "time.sleep"): CALLER,
    ("embedded/keeper.py", "Keeper._run", "time.sleep"): SERVICE,
    ("embedded/keeper.py", "Keeper._await_end_of_others", "time.sleep"): CALLER,
    ("embedded/server.py", "EmbeddedPostgresql._start", "time.sleep"): CALLER,
    ("embedded/server.py", "EmbeddedPostgresql._start_keeper", "fcntl.flock"): CALLER,
    ("embedded/server.py", "EmbeddedPostgresql._start_keeper", "subprocess.run"): CALLER,
    ("embedded/service_user.py", "service_user", "subprocess.run"): SAYS,
    ("freeradius/installed.py", "_run", "subprocess.run"): CALLER,
    ("freeradius/journal_in_use.py", "watch", "stop.wait"): SERVICE,
    ("freeradius/owner.py", "_serve", "os.waitpid"): SAYS,  # its child is this command, with fewer rights
    ("freeradius/probe.py", "answers", "socket.getaddrinfo"): CALLER,
    ("ingest/replay.py", "Replayer._retried", "time.sleep"): SAYS,
    ("ingest/shipper.py", "Shipper.run", "stop.wait"): SERVICE,
    ("ingest/shipper.py", "Shipper._next_batch", "stop.wait"): SERVICE,
    ("jobs/archiving.py", "ArchivingByAge.end", "self._process.wait"): SERVICE,
    ("jobs/runner.py", "run", "stop.wait"): SERVICE,
    ("metrics/figures.py", "_Backups.newest", "self._thread.join"): SHORT,
    ("quotas/due.py", "DueQuotas.apply", "wait"): SERVICE,
    ("quotas/due.py", "_look", "stop.wait"): SERVICE,
    ("quotas/due.py", "looking", "thread.join"): SERVICE,
    ("quotas/worker.py", "", "asyncio.sleep"): SHORT,
    ("quotas/worker.py", "QuotaWorker._rest", "select.select"): SERVICE,
    ("quotas/worker.py", "QuotaWorker._run", "self._stop.wait"): SERVICE,
    ("quotas/worker.py", "QuotaWorker.end", "self._thread.join"): SERVICE,
    ("jobs/runner.py", "_wait", "stop.wait"): SERVICE,
    ("output.py", "_shown_in_pager", "pager.communicate"): PERSON,
    ("output.py", "_shown_in_pager", "pager.wait"): PERSON,
    ("partitions/split.py", "Splitting._outlast_snapshots", "time.sleep"): SAYS,
    ("plugin/journal/group_commit.py", "_Ticket.__init__", "self.gate.acquire"): SERVICE,
    ("plugin/journal/group_commit.py", "GroupCommit.append", "ticket.gate.acquire"): SERVICE,
    ("plugin/journal/locks.py", "_lock", "time.sleep"): SHORT,
    ("plugin/journal/reader.py", "JournalReader.lock", "lock.acquire"): SHORT,
    ("plugin/journal/writer.py", "JournalWriter.close", "self._syncer.join"): SERVICE,
    ("plugin/journal/writer.py", "JournalWriter._open", "self._lock.acquire"): SHORT,
    ("plugin/journal/writer.py", "JournalWriter._sync_regularly", "self._unsynced.wait"): SERVICE,
    ("plugin/journal/writer.py", "JournalWriter._sync_regularly", "self._closed.wait"): SERVICE,
    ("supervisor.py", "_ends", "time.sleep"): CALLER,
    ("supervisor.py", "_end_group", "process.wait"): SHORT,
    ("trial/router_socket.py", "RouterSocket.__init__", "socket.getaddrinfo"): CALLER,
    ("trial/run.py", "TrialRun.watch", "time.sleep"): SAYS,
    ("trial/run.py", "TrialRun._ship_everything", "time.sleep"): CALLER,
    ("trial/services.py", "Services._answers", "time.sleep"): CALLER,
    ("trial/ports.py", "_bound", "socket.getaddrinfo"): SHORT,
    ("trial/simulator.py", "Simulator.run", "self._selector.select"): CALLER,
    ("alerts/mail.py", "_cut_after", "thread.join"): "it ends at once when it is told to",
    ("alerts/mail.py", "_cut_after.watch", "over.wait"): "beside the attempt, which says so",
    ("alerts/mail_queue.py", "MailSender._run", "stop.wait"): SERVICE,
    ("alerts/mail_queue.py", "MailSender.end", "self._thread.join"): SERVICE,
    ("alerts/worker.py", "AlertWorker._look", "stop.wait"): SERVICE,
    ("alerts/worker.py", "AlertWorker._run", "stop.wait"): SERVICE,
    ("alerts/worker.py", "AlertWorker.end", "self._thread.join"): SERVICE,
    ("webhooks/sender.py", "Sender._watch", "stop.wait"): SERVICE,
    ("webhooks/sender.py", "Sender.end", "thread.join"): SERVICE,
    ("webhooks/addresses.py", "resolve", "socket.getaddrinfo"): CALLER,
}


def waits_in(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the file, the function and the call of each wait that no `waits.waiting_for` covers."""

    def walk(node: ast.AST, names: tuple[str, ...], told: bool) -> Iterator[tuple[str, str, str]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names, told = (*names, node.name), False
        elif isinstance(node, ast.With):
            told = told or any("waits.waiting_for(" in ast.unparse(item) for item in node.items)
        elif isinstance(node, ast.Call) and not told and is_wait(node):
            yield str(path.relative_to(PACKAGE)), ".".join(names), ast.unparse(node.func)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, names, told)

    yield from walk(ast.parse(path.read_text()), (), False)


def is_wait(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name not in WAITING:
        return False
    if name == "flock":
        return "LOCK_NB" not in ast.unparse(call) and "LOCK_UN" not in ast.unparse(call)
    if name == "run":
        return ast.unparse(call.func) == "subprocess.run"
    if name == "connect":
        return ast.unparse(call.func).endswith("Connection.connect")
    # Text is joined with an argument that is not a number of seconds.
    receiver = ast.unparse(call.func).rpartition(".")[0]
    return name != "join" or receiver.endswith(("thread", "watcher", "cancel", "syncer"))


def test_every_wait_is_told_or_registered() -> None:
    found = Counter(each for path in sorted(PACKAGE.rglob("*.py")) for each in waits_in(path))
    assert set(found) - set(REGISTER) == set(), "put them in `with waits.waiting_for(..)`, or register them"
    assert set(REGISTER) - set(found) == set(), "these waits are gone"


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is said, from a moment of waiting on."""
    lines: list[str] = []
    waits.use(lines.append, 0.01)
    yield lines
    waits.use(None)


def await_true(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_long_wait_is_said_once_and_those_within_it_are_not(said: list[str]) -> None:
    with waits.waiting_for("the server"), waits.waiting_for("a socket of the server"):
        await_true(lambda: bool(said))
        time.sleep(0.1)
    assert said == ["waiting for the server"]


def test_a_short_wait_is_not_said(said: list[str]) -> None:
    waits.use(said.append, 600)
    with waits.waiting_for("the server"):
        pass
    assert said == []


def test_a_wait_below_a_display_is_not_said(said: list[str]) -> None:
    with waits.covered(), waits.waiting_for("the server"):
        time.sleep(0.1)
        assert not waits.is_told()
    assert said == []
    assert waits.is_told()


def test_in_a_service_no_wait_is_said(said: list[str]) -> None:
    waits.use(None)
    with waits.waiting_for("the server"):
        time.sleep(0.1)
        waits.tell("the server")
    assert said == []
