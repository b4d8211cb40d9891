"""`radmeter freeradius install` with Debian's own configuration and a real FreeRADIUS: it works, or changes nothing."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.commands import Result, radmeter
from support.doctoring import faults
from support.processes import Database
from support.radius_login import login
from support.stock_server import ACCOUNTING, PREACCT, STOCK, StockServer
from support.wire import Router

from radmeter.freeradius import installed
from radmeter.freeradius.install import POLICY
from radmeter.freeradius.install_record import DIRECTORY, digest
from radmeter.freeradius.install_run import UNFINISHED, alone
from radmeter.plugin.journal.reader import JournalReader

SITE = "sites-available/default"
Tree = dict[str, tuple[int, bytes | str]]


class Stock:
    """A copy of Debian's configuration, and the command for it."""

    def __init__(self, base: Path) -> None:
        self.server = StockServer(base, base / "lib" / "journal")
        self.raddb = self.server.raddb

    def install(self, *arguments: str) -> Result:
        journal = str(self.server.journal)
        return radmeter(
            None, "freeradius", "install", "--raddb", self.raddb, "--journal", journal, *arguments
        )

    def edit(self, name: str, pattern: str, replacement: str) -> None:
        path = self.raddb / name
        text = path.read_bytes().decode("latin-1")
        changed = re.sub(pattern, lambda match: match.expand(replacement), text, count=1)
        assert changed != text
        path.write_bytes(changed.encode("latin-1"))

    def tree(self) -> Tree:
        """Return each file's rights and content, and each link's target."""
        return {
            str(path.relative_to(self.raddb)): (
                path.lstat().st_mode,
                str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else "",
            )
            for path in self.raddb.rglob("*")
        }


@pytest.fixture
def stock() -> Iterator[Stock]:
    if not os.access(STOCK / "radiusd.conf", os.R_OK):
        pytest.skip(f"{STOCK} is not there, or not ours to read")
    # Not pytest's directory: it is closed to radiusd's user, as whom root lets FreeRADIUS check the configuration.
    with TemporaryDirectory() as name:
        base = Path(name).resolve()
        base.chmod(0o755)
        yield Stock(base)


def calls(stock: Stock, section: str) -> list[str]:
    """Return the lines of a section of the site that are no comments and not empty."""
    text = (stock.raddb / SITE).read_text()
    found = re.search(rf"(?ms)^{section} \{{\n(.*?)^\}}", text)
    assert found is not None
    lines = [line.strip() for line in found[1].splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_a_packet_is_in_the_journal_after_it_and_undo_leaves_no_trace(stock: Stock) -> None:
    before = stock.tree()
    planned = stock.install("--plan")
    assert (planned.exit_code, stock.tree(), stock.server.journal.exists()) == (0, before, False)

    done = stock.install("--yes")
    assert done.exit_code == 0, done.errors
    assert [line for line in done.output.splitlines() if line.startswith("  ")][:6] == (
        planned.output.splitlines()[1:]
    )
    assert "systemctl restart freeradius" in done.output
    assert calls(stock, "preacct")[0] == PREACCT
    assert calls(stock, "accounting")[-1] == ACCOUNTING
    assert stock.server.journal.is_dir()

    after = stock.tree()
    again = stock.install("--yes")
    assert (again.exit_code, again.output) == (0, f"{stock.raddb}: nothing to do, radmeter is in it\n")
    assert stock.tree() == after

    with stock.server as server:
        server.variables = {}
        server.start(python_path=False)
        with Router(server.address) as router:
            assert router.send({"Acct-Status-Type": "Stop", "User-Name": "alice", "Acct-Session-Id": "s"})
        assert server.stop() == 0
    assert JournalReader(stock.server.journal).depth({}).records == 1
    found = faults(
        None,
        "freeradius",
        arguments=("--raddb", stock.raddb),
        RADMETER_JOURNAL=str(stock.server.journal),
    )
    assert [line.said for line in found if line.check == "freeradius" and line.level == "red"] == []

    assert stock.install("--undo", "--plan").exit_code == 0
    assert stock.tree() == after
    undone = stock.install("--undo", "--yes")
    assert undone.exit_code == 0, undone.errors
    assert stock.tree() == before
    assert JournalReader(stock.server.journal).depth({}).records == 1
    assert stock.install("--undo", "--yes").exit_code == 1


def section(stock: Stock, name: str, text: str) -> None:
    """Put a text in the place of a section of the site."""
    stock.edit(SITE, rf"(?ms)^{name} \{{\n.*?^\}}", text.replace("\\", "\\\\"))


REFUSED: dict[str, tuple[Callable[[Stock], object], str]] = {
    "section in one line": (
        lambda stock: section(stock, "preacct", "preacct { preprocess }"),
        "preacct { does not stand on a line of its own",
    ),
    "end not alone": (
        lambda stock: section(stock, "accounting", "accounting {\n\tdetail }"),
        "the end of accounting does not stand on a line of its own",
    ),
    "no section": (lambda stock: section(stock, "preacct", ""), "server default has no sections preacct"),
    "two sections": (
        lambda stock: section(stock, "preacct", "preacct {\n}\npreacct {\n}"),
        "server default has 2 sections preacct",
    ),
    "answered before the end": (
        lambda stock: section(stock, "accounting", "accounting {\n\tdetail {\n\t\tok = return\n\t}\n}"),
        "accounting can end before its last line",
    ),
    "return": (
        lambda stock: section(stock, "accounting", "accounting {\n\tif (&User-Name) {\n\t\treturn\n\t}\n}"),
        "accounting can end before its last line",
    ),
    "in its place": (
        lambda stock: section(stock, "accounting", "accounting {\n\tAcct-Type X {\n\t}\n}"),
        "Acct-Type X takes its place",
    ),
    "not first": (
        lambda stock: section(stock, "preacct", f"preacct {{\n\tpreprocess\n\t{PREACCT}\n}}"),
        f"preacct calls {PREACCT}, but not first",
    ),
    "no accounting": (
        lambda stock: stock.edit(SITE, r"(?s)type = acct(.*)type = acct", r"type = auth\1type = auth"),
        "no virtual server takes accounting packets",
    ),
    "another's policy": (
        lambda stock: (stock.raddb / "policy.d" / "radmeter").write_text("mine {\n}\n"),
        "policy.d/radmeter is not radmeter's file",
    ),
    "another's module": (
        lambda stock: (stock.raddb / "mods-enabled" / "radmeter").write_text("always mine {\n}\n"),
        "mods-enabled/radmeter is there, but it is not radmeter's module",
    ),
    "a second instance": (
        lambda stock: (
            (stock.raddb / "mods-enabled" / "other").write_text(
                "python3 other {\n\tmodule = radmeter.plugin\n}\n"
            )
            and None
        ),
        "enables radmeter already, under another file",
    ),
}


def accounting(body: str, said: str = "") -> tuple[Callable[[Stock], object], str]:
    return lambda stock: section(stock, "accounting", f"accounting {{\n{body}\n}}"), said


def hotspot(
    opening: str = "server hotspot", kind: str = "acct", body: str = "ok", include: str = ""
) -> tuple[Callable[[Stock], object], str]:
    """Add a second server that takes accounting."""
    site = (
        f"{opening} {{\n\tlisten {{\n\t\ttype = {kind}\n\t\tipaddr = 127.0.0.1\n\t\tport = 0\n\t}}\n"
        f"\tpreacct {{\n\t\tpreprocess\n\t}}\n\taccounting {{\n\t\t{body}\n\t}}\n}}\n"
    )

    def spoil(stock: Stock) -> None:
        folder = stock.raddb / ("more-sites" if include else "sites-enabled")
        folder.mkdir(exist_ok=True)
        (folder / "hotspot").write_text(site)
        with (stock.raddb / "radiusd.conf").open("a") as file:
            file.write(f"\nact = return\nacct_type = acct\nmysites = ${{confdir}}/more-sites\n{include}\n")

    return spoil, ""


def listener_elsewhere(stock: Stock) -> None:
    listen = "listen {\n\ttype = acct\n\tipaddr = 127.0.0.1\n\tport = 0\n\tvirtual_server = hotspot\n}\n"
    (stock.raddb / "sites-enabled" / "hotspot").write_text(
        f'{listen}server "hotspot" {{\n\tpreacct {{\n\t}}\n\taccounting {{\n\t\tok\n\t}}\n}}\n'
    )


ANSWER = "\tupdate control {\n\t\t&response-packet-type := Accounting-Response\n\t}"


def answering_policy(stock: Stock) -> None:
    (stock.raddb / "policy.d" / "answers").write_text(f"answers {{\n{ANSWER}\n}}\n")
    section(stock, "preacct", "preacct {\n\tanswers\n}")


def answering_user(stock: Stock) -> None:
    with (stock.raddb / "mods-config" / "files" / "accounting").open("a") as file:
        file.write("DEFAULT Response-Packet-Type := Accounting-Response\n")


def ending_policy(stock: Stock) -> None:
    (stock.raddb / "policy.d" / "done").write_text("done {\n\tok {\n\t\tok = return\n\t}\n}\n")
    section(stock, "accounting", "accounting {\n\tdone\n}")


# What the reader takes for something else than FreeRADIUS does.
MISREAD: dict[str, tuple[Callable[[Stock], object], str]] = {
    "comment in a pattern": accounting("\tif (&Called-Station-Id =~ /#guest$/) {\n\t\tok\n\t}"),
    "quote in a pattern": accounting('\tif (&User-Name =~ /^"x/) {\n\t\tok\n\t}'),
    "brace in a pattern": accounting("\tif (&User-Name =~ /^\\{/) {\n\t\tok\n\t}\n\tok"),
    "brace of a program": accounting("\tupdate request {\n\t\t&Tmp-String-5 := `/bin/echo {`\n\t}\n\tok"),
    "escaped quote": accounting("\tupdate request {\n\t\t&Tmp-String-5 := 'it\\'s {'\n\t}\n\tok"),
    "large letters": accounting("\tok {\n\t\tOK = return\n\t}", "accounting can end before its last line"),
    "a policy that ends it": (ending_policy, "accounting can end in the policy done"),
    "listener elsewhere, server in quotes": (listener_elsewhere, ""),
    "kind in large letters": hotspot(kind="ACCT"),
    "kind in a variable": hotspot(kind="${acct_type}"),
    "action in a variable": hotspot(body="ok {\n\t\t\tok = ${act}\n\t\t}"),
    "sites in a variable": hotspot(include="$INCLUDE ${mysites}/"),
}
# FreeRADIUS then answers, whatever the sections return.
ANSWERS: dict[str, tuple[Callable[[Stock], object], str]] = {
    "an answer in preacct": (
        lambda stock: section(stock, "preacct", f"preacct {{\n{ANSWER}\n}}"),
        "preacct sets Response-Packet-Type",
    ),
    "an answer in accounting": accounting(ANSWER, "accounting sets Response-Packet-Type"),
    "an answer in a policy": (answering_policy, "preacct sets Response-Packet-Type"),
    "an answer of a module": (answering_user, "mods-config/files/accounting line "),
}
REFUSED |= MISREAD | ANSWERS


HOTSPOT = "server hotspot {\n\tpreacct {\n\t\tpreprocess\n\t}\n\taccounting {\n\t\tok\n\t}\n}\n"
LISTEN = "\tlisten {{\n\t\t{}\n\t\tipaddr = 127.0.0.1\n\t\tport = 0\n\t}}\n"


def sent_to(
    client: str = "", file: str = "clients.conf", include: str = "", before: str = "", site: str = HOTSPOT
) -> tuple[Callable[[Stock], object], str]:
    """Add a server that gets packets although no listener of its own takes accounting."""

    def spoil(stock: Stock) -> None:
        (stock.raddb / "sites-enabled" / "hotspot").write_text(site)
        (stock.raddb / "local").mkdir()
        clients = (
            f"{before}\nclient hotspot {{\n\tipaddr = 127.1.2.0/24\n\tsecret = long-enough\n\t{client}\n}}\n"
        )
        with (stock.raddb / file).open("a") as written:
            written.write(clients)
        with (stock.raddb / "radiusd.conf").open("a") as written:
            written.write(f"\nlocalconf = ${{confdir}}/local\n{include}\n")

    return spoil, "server hotspot of "


# What sends accounting to a server, where a reader that is not FreeRADIUS's does not see it.
SENDS: dict[str, tuple[Callable[[Stock], object], str]] = {
    "clients in a variable": sent_to(
        "virtual_server = hotspot", "local/clients", "$INCLUDE ${localconf}/clients"
    ),
    "clients in the environment": sent_to(
        "virtual_server = hotspot", "local/clients", "$-INCLUDE $ENV{HOTSPOT}/clients"
    ),
    "a template": sent_to("$template hs", before="templates {\n\ths {\n\t\tvirtual_server = hotspot\n\t}\n}"),
    "a continued line": sent_to("virtual_server \\\n = hotspot"),
    "dynamic clients": sent_to("dynamic_clients = hotspot\n\tlifetime = 60"),
    "a name with a space": (
        sent_to('virtual_server = "hot spot"', site=HOTSPOT.replace("hotspot", '"hot spot"'))[0],
        "server hot spot of ",
    ),
    "a type in a template": sent_to(
        before="templates {\n\tacct {\n\t\ttype = acct\n\t}\n}",
        site=HOTSPOT.replace("{\n", "{\n" + LISTEN.format("$template acct"), 1),
    ),
}
REFUSED |= SENDS


@pytest.mark.parametrize(("spoil", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_not_changed(
    stock: Stock, spoil: Callable[[Stock], object], said: str
) -> None:
    spoil(stock)
    before = stock.tree()
    done = stock.install("--yes")
    assert done.exit_code == 1
    assert said in done.errors
    for line in (PREACCT, ACCOUNTING, "python_path = ", "mods-available/radmeter", "freeradius -C"):
        assert line in done.errors
    assert stock.tree() == before


@pytest.mark.parametrize(
    "spoil",
    [
        hotspot("server\thotspot")[0],
        hotspot(include="$INCLUDE\tmore-sites/")[0],
        # Of two values FreeRADIUS takes the first.
        hotspot(kind="acct\n\t\ttype = auth")[0],
        sent_to("virtual_server = hotspot")[0],
        sent_to("virtual_server = hotspot", "local/clients", "$include local/clients")[0],
    ],
    ids=["server after a tab", "tab after the include", "two types", "a client", "include in small letters"],
)
def test_a_server_that_is_understood_gets_the_lines(stock: Stock, spoil: Callable[[Stock], object]) -> None:
    spoil(stock)
    done = stock.install("--yes")
    assert done.exit_code == 0, done.errors
    files = [stock.raddb / "sites-enabled" / "hotspot", stock.raddb / "more-sites" / "hotspot"]
    assert sum(f"{ACCOUNTING}\n" in file.read_text() for file in files if file.exists()) == 1


def test_each_server_that_takes_accounting_gets_the_lines(stock: Stock) -> None:
    body = (
        'if (&User-Name =~ /^guest/) {\n\t\tok\n\t\t}\n\t\tif (&User-Name == "%{Class} {") {\n\t\tok\n\t\t}'
    )
    hotspot('server "hotspot"', body=body)[0](stock)
    done = stock.install("--yes")
    assert done.exit_code == 0, done.errors
    for line in (PREACCT, ACCOUNTING):
        assert line in (stock.raddb / "sites-enabled" / "hotspot").read_text()
        assert line in (stock.raddb / SITE).read_text()


def test_the_doctor_asks_freeradius_where_the_lines_stand(stock: Stock) -> None:
    assert stock.install("--yes").exit_code == 0

    def red() -> list[str]:
        found = faults(
            None,
            "freeradius",
            arguments=("--raddb", stock.raddb, "--check-config"),
            RADMETER_JOURNAL=str(stock.server.journal),
        )
        return [line.said for line in found if line.check == "freeradius" and line.level == "red"]

    assert red() == []
    section(
        stock,
        "accounting",
        f"accounting {{\n\tif (&Called-Station-Id =~ /#guest$/) {{\n\t\t{ACCOUNTING}\n\t}}\n}}",
    )
    said = red()
    assert len(said) == 1
    assert f"FreeRADIUS does not execute {ACCOUNTING} last in accounting" in said[0]


@pytest.mark.parametrize("settings", ["module = json", ""])
def test_a_second_python_is_named_where_freeradius_cannot_have_it(stock: Stock, settings: str) -> None:
    version = installed.installed_version()
    if version is None or version >= (3, 2, 8):
        pytest.skip("this FreeRADIUS can have several")
    (stock.raddb / "mods-enabled" / "mine").write_text(f"python3 mine {{\n\t{settings}\n}}\n")
    before = stock.tree()
    done = stock.install("--yes")
    assert (done.exit_code, stock.tree()) == (1, before)
    assert "mods-enabled/mine line 1: mine is an instance of rlm_python3 too" in done.errors


def test_a_journal_of_the_section_env_is_the_one(stock: Stock) -> None:
    journal = stock.raddb.parent / "journal"
    stock.edit("radiusd.conf", r"(?m)^ENV \{$", f'ENV {{\n\tRADMETER_JOURNAL = "{journal}"')
    other = stock.install("--plan")
    assert (other.exit_code, f"the server would use {journal} (from" in other.errors) == (2, True), (
        other.errors
    )
    done = radmeter(None, "freeradius", "install", "--raddb", stock.raddb, "--yes")
    assert (done.exit_code, journal.is_dir()) == (0, True), done.errors
    with stock.server as server:
        server.variables = {}
        server.start(python_path=False)
        with Router(server.address) as router:
            assert router.send({"Acct-Status-Type": "Stop", "User-Name": "alice", "Acct-Session-Id": "s"})
    assert JournalReader(journal).depth({}).records == 1


def test_a_site_elsewhere_is_not_changed(stock: Stock, tmp_path: Path) -> None:
    elsewhere = tmp_path / "managed"
    (stock.raddb / SITE).rename(elsewhere)
    (stock.raddb / SITE).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    done = stock.install("--yes")
    assert (done.exit_code, "is a file outside" in done.errors) == (1, True)
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "pattern", "said"),
    [
        # Faulty before: a module that is not there is called.
        (SITE, r"(?m)^authorize \{$", "is faulty already, before any change: {raddb}/sites-enabled/default["),
        # Faulty after: the policies are not read.
        ("radiusd.conf", r"(?m)^(\s*)\$INCLUDE policy.d/$", "would be faulty; everything is as it was: "),
    ],
)
def test_what_freeradius_refuses_is_put_back(stock: Stock, name: str, pattern: str, said: str) -> None:
    if name == SITE:
        stock.edit(name, pattern, "authorize {\n\tnot_there")
    else:
        # The site's own policies go too, so that only radmeter's are missed.
        stock.edit(name, pattern, r"\1filter_username {\n\1}\n\1remove_reply_message_if_eap {\n\1}")
        section(stock, "preacct", "preacct {\n\tpreprocess\n}")
    before = stock.tree()
    done = stock.install("--yes")
    assert (done.exit_code, said.format(raddb=stock.raddb) in done.errors) == (1, True), done.errors
    assert stock.tree() == before


def test_what_people_change_afterwards_stays(stock: Stock) -> None:
    stock.edit(SITE, r"(?m)^preacct \{$", "# caf\xe9\npreacct {")  # not UTF-8
    assert stock.install("--yes").exit_code == 0
    stock.edit(SITE, rf"(?m)^(\s*){PREACCT}$", rf"\1{PREACCT}\n\1# a line of the operator's\n\1preprocess")
    stock.edit("mods-available/radmeter", r'sync = ".*"', 'sync = "interval"')
    again = stock.install("--yes")
    assert (again.exit_code, "mods-available/radmeter is not as this command writes it" in again.errors) == (
        0,
        True,
    )

    undone = stock.install("--undo", "--yes")
    assert undone.exit_code == 0, undone.errors
    assert "mods-available/radmeter was changed by hand and stays" in undone.errors
    text = (stock.raddb / SITE).read_bytes()
    assert b"# a line of the operator's\n" in text
    assert b"# caf\xe9\n" in text
    assert b"radmeter" not in text
    assert not (stock.raddb / "mods-enabled" / "radmeter").exists()
    assert (stock.raddb / "mods-available" / "radmeter").exists()
    assert not (stock.raddb / "policy.d" / "radmeter").exists()


def test_a_file_of_an_earlier_release_is_renewed(stock: Stock) -> None:
    assert stock.install("--yes").exit_code == 0
    newest = stock.tree()
    # As an earlier release had written it.
    policy = stock.raddb / "policy.d" / "radmeter"
    newer = policy.read_text()
    older = newer + "#  Of an earlier release.\n"
    record = stock.raddb / DIRECTORY / "record.json"
    policy.write_text(older)
    record.write_text(record.read_text().replace(digest(newer.encode()), digest(older.encode())))
    done = stock.install("--yes")
    assert (done.exit_code, f"renew {policy}" in done.output) == (0, True), done.errors
    kept = [path for path in (stock.raddb / DIRECTORY / "policy.d").iterdir() if path.read_text() == older]
    assert len(kept) == 1
    after = {name: state for name, state in stock.tree().items() if f"{DIRECTORY}/policy.d" not in name}
    assert after == newest


def test_lines_that_end_as_on_windows_stay_so(stock: Stock) -> None:
    path = stock.raddb / SITE
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = path.read_bytes()
    done = stock.install("--yes")
    assert done.exit_code == 0, done.errors
    text = path.read_bytes()
    assert text.count(b"\n") == text.count(b"\r\n")
    assert stock.install("--undo", "--yes").exit_code == 0
    assert path.read_bytes() == before


def test_without_a_terminal_it_asks_nobody(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stock.tree()
    done = stock.install()
    assert (done.exit_code, "--yes" in done.errors) == (2, True)
    assert stock.tree() == before
    monkeypatch.setattr(installed, "python_module", lambda: None)
    assert "apt install freeradius-python3" in stock.install("--yes").errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can do without sudo")
def test_root_is_told_to_use_sudo_only_where_it_is_installed(
    stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/sbin:/sbin")  # sudo is in /usr/bin
    done = stock.install("--yes")
    assert "\n  systemctl restart freeradius\n" in done.output, done.errors
    assert "sudo " not in done.output
    (programs / "sudo").touch(0o755)
    done = stock.install("--undo", "--yes")
    assert "\n  sudo systemctl restart freeradius\n" in done.output, done.errors


def test_a_file_that_changes_while_it_asks_is_not_changed(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_: str, yes: bool) -> None:
        assert not yes
        stock.edit(SITE, r"(?m)^preacct \{$", "# a line of the operator's\npreacct {")

    monkeypatch.setattr("radmeter.cli.freeradius.confirm", answer)
    done = stock.install()
    assert (done.exit_code, "was changed meanwhile" in done.errors) == (1, True), done.errors
    text = (stock.raddb / SITE).read_text()
    assert "# a line of the operator's\npreacct {" in text
    assert "radmeter" not in text
    assert not (stock.raddb / POLICY).exists()
    assert not stock.server.journal.exists()


def test_only_one_runs_at_a_time(stock: Stock) -> None:
    before = stock.tree()
    with alone(stock.raddb):
        done = stock.install("--yes")
    assert (done.exit_code, "another `radmeter freeradius install` works on" in done.errors) == (1, True)
    assert stock.tree() == before
    assert stock.install("--yes").exit_code == 0


def test_extended_attributes_stay_and_what_a_killed_run_left_goes(stock: Stock) -> None:
    site = stock.raddb / SITE
    left = stock.raddb / f"{SITE}{UNFINISHED}"
    left.write_text("half a si")
    os.setxattr(site, "user.label", b"kept")
    done = stock.install("--yes")
    assert done.exit_code == 0, done.errors
    assert not left.exists()
    assert os.getxattr(site, "user.label") == b"kept"
    undone = stock.install("--undo", "--yes")
    assert undone.exit_code == 0, undone.errors
    assert os.getxattr(site, "user.label") == b"kept"


def test_a_second_installation_keeps_the_journal_of_the_first(stock: Stock) -> None:
    assert stock.install("--yes").exit_code == 0
    after = stock.tree()
    again = radmeter(None, "freeradius", "install", "--raddb", stock.raddb, "--yes")
    assert (again.exit_code, f"the journal stays {stock.server.journal}" in again.errors) == (0, True)
    assert stock.tree() == after


def test_another_journal_can_be_named_later(stock: Stock) -> None:
    assert stock.install("--yes").exit_code == 0
    moved = stock.raddb.parent / "srv" / "journal"
    done = radmeter(None, "freeradius", "install", "--raddb", stock.raddb, "--journal", str(moved), "--yes")
    assert done.exit_code == 0, done.errors
    assert moved.is_dir()
    assert f'journal = "{moved}"' in (stock.raddb / "mods-available" / "radmeter").read_text()


def test_a_plan_says_what_would_be_refused(stock: Stock) -> None:
    stock.edit(SITE, r"(?m)^authorize \{$", "authorize {\n\tnot_there")
    done = stock.install("--plan")
    assert (done.exit_code, "is faulty already, before any change" in done.errors) == (1, True), done.errors


def test_undo_names_the_line_that_it_cannot_take_back(stock: Stock) -> None:
    assert stock.install("--yes").exit_code == 0
    stock.edit(SITE, rf"(?m)^(\s*{PREACCT})$", r"\1 # mine")
    after = stock.tree()
    lines = (stock.raddb / SITE).read_text().splitlines()
    number = next(number for number, line in enumerate(lines, 1) if line.endswith("# mine"))
    undone = stock.install("--undo", "--yes")
    assert undone.exit_code == 1
    assert f"{SITE} line {number} was changed by hand" in undone.errors
    assert "Delete this line" in undone.errors
    assert stock.tree() == after


def test_undo_tells_anothers_fault_from_its_own(stock: Stock) -> None:
    assert stock.install("--yes").exit_code == 0
    stock.edit(SITE, r"(?m)^authorize \{$", "authorize {\n\tnot_there")
    after = stock.tree()
    undone = stock.install("--undo", "--yes")
    assert (undone.exit_code, "is faulty already, before any change" in undone.errors) == (1, True)
    assert stock.tree() == after


def radius_log(stock: Stock) -> list[str]:
    """What radmeter's policy has written."""
    return (stock.raddb.parent / "radius.log").read_text(errors="replace").splitlines()


def eapol_test(
    address: tuple[str, int], base: Path, method: str, inside: str, outside: str
) -> tuple[str, str | None]:
    """Log in by EAP with one name inside the tunnel and another outside; return the last answer and its User-Name."""
    configuration = base / f"{method}-{inside}.conf"
    configuration.write_text(
        f"""network={{
            key_mgmt=IEEE8021X
            eap={method}
            identity="{inside}"
            anonymous_identity="{outside}"
            password="secret"
            phase2="{"auth=PAP" if method == "TTLS" else "auth=MSCHAPV2"}"
        }}
        """
    )
    done = subprocess.run(
        ["eapol_test", "-c", configuration, "-a", address[0], "-p", str(address[1]), "-s", "testing123",
         "-t", "20", "-r", "0"],
        capture_output=True, text=True, errors="replace", timeout=60, check=False,
    )  # fmt: skip
    last = done.stdout.rpartition("RADIUS message: code=")[2]
    assert last, done.stdout[-3000:]
    name = re.search(r"\(User-Name\) length=\d+\n\s*Value: '([^']*)'", last)
    failed = re.search(r"\(EAP-Message\) length=6\n\s*Value: 04..0004", last)
    return last.split()[1].strip("()") + (" with a failure" if failed else ""), name[1] if name else None


def test_logins_are_asked_for_beside_the_servers_own_authentication(
    stock: Stock, database: Database, tmp_path: Path
) -> None:
    """With passwords of a file; of EAP by the name inside the tunnel. Undo leaves no trace."""
    (stock.raddb / "mods-config" / "files" / "authorize").write_text(
        "".join(f'{name} Cleartext-Password := "secret"\n' for name in ("bob", "poor"))
    )
    database.execute(
        """INSERT INTO plans (name, quota_bytes, speed_up) VALUES ('basic', 5368709120, 1000000), ('zero', 0, NULL);
           INSERT INTO subscribers (username, plan_id) VALUES ('bob', 1), ('poor', 2)"""
    )
    before = stock.tree()
    dsn = database.conninfo
    refused = stock.install("--quota", "--login-dsn", f"{dsn} password=x", "--yes")
    assert (refused.exit_code, "passfile" in refused.errors) == (2, True)
    done = stock.install("--quota", "--login-dsn", dsn, "--yes")
    assert done.exit_code == 0, done.errors
    assert calls(stock, "post-auth")[0] == "radmeter_quota"
    assert "\tradmeter_quota\n" in (stock.raddb / "sites-available" / "inner-tunnel").read_text()
    after = stock.tree()
    for arguments in (("--quota", "--login-dsn", dsn), ()):
        again = stock.install(*arguments, "--yes")
        assert (again.exit_code, again.output) == (0, f"{stock.raddb}: nothing to do, radmeter is in it\n")
    assert stock.tree() == after

    with stock.server as server:
        server.start()
        (line,) = (
            each for each in server.lines("Listening on auth address 127.0.0.1") if "server default" in each
        )
        address = "127.0.0.1", int(line.split(" port ")[1].split()[0])
        answer = login(address, "bob")
        assert (answer.code, answer.limits) == ("Access-Accept", {"WISPr-Bandwidth-Max-Up": "1000000"})
        assert login(address, "poor").attributes == {"Reply-Message": "Your data allowance is used up."}
        assert login(address, "poor", "wrong").attributes == {}
        for method in ("TTLS", "PEAP"):
            # Accounting counts for bob.
            assert eapol_test(address, tmp_path, method, "bob", "poor") == ("Access-Accept", "bob")
            assert eapol_test(address, tmp_path, method, "poor", "bob") == (
                "Access-Reject with a failure",
                None,
            )
        server.stop()
        # Without the line in the tunnel nobody knows who it was.
        tunnel = stock.raddb / "sites-available" / "inner-tunnel"
        whole = tunnel.read_text()
        tunnel.write_text(whole.replace("\tradmeter_quota\n", ""))
        server.start()
        assert eapol_test(address, tmp_path, "TTLS", "bob", "bob")[0] == "Access-Reject with a failure"
        assert any("no name from inside the tunnel" in line for line in radius_log(stock))
        assert login(address, "bob").accepted
        server.stop()
        tunnel.write_text(whole)
    undone = stock.install("--undo", "--yes")
    assert undone.exit_code == 0, undone.errors
    assert stock.tree() == before
