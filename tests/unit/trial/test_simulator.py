"""The simulator counts as sent only what was acknowledged."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from importlib.resources import files
from time import monotonic

import pytest
from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket

from radmeter.errors import RadmeterError
from radmeter.trial.silence import Silence
from radmeter.trial.simulator import Simulator, Unacknowledged
from radmeter.trial.totals import Comparison, Totals, Usage, compare
from radmeter.trial.traffic import Hotspots, Router

SECRET = "s3cret"
MACS = {router.name: router.mac for router in Hotspots(routers=7, users=0, seed=0, run="").routers}


class Server:
    """Acknowledges some packets, loses others, and keeps the last report of each session."""

    def __init__(self, *, silent_share: float = 0.0, secret: str = SECRET, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(0.05)
        self.port: int = self.socket.getsockname()[1]
        self.packets: list[AcctPacket] = []
        self.last: dict[str, AcctPacket] = {}
        self._silent_share = silent_share
        self._secret = secret.encode()
        self._dictionary = Dictionary(str(files("radmeter.freeradius") / "dictionary"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.socket.close()

    def usage(self) -> Totals:
        totals = Totals()
        for packet in self.last.values():
            if "User-Name" not in packet:
                continue
            octets = {
                way: packet.get(f"Acct-{way}-Octets", [0])[0]
                + (packet.get(f"Acct-{way}-Gigawords", [0])[0] << 32)
                for way in ("Input", "Output")
            }
            usage = Usage(octets["Input"], octets["Output"])
            totals.add(packet["User-Name"][0], MACS[packet["NAS-Identifier"][0]], usage)
        return totals

    def _serve(self) -> None:
        chance = random.Random(7)
        while not self._stop.is_set():
            try:
                datagram, client = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            packet = AcctPacket(packet=datagram, secret=self._secret, dict=self._dictionary)
            if not packet.VerifyAcctRequest():
                continue
            self.packets.append(packet)
            self.last[packet["Acct-Session-Id"][0]] = packet
            if chance.random() >= self._silent_share:
                reply = packet.CreateReply()
                self.socket.sendto(reply.ReplyPacket(), client)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def simulator(port: int, **options: float) -> Simulator:
    settings = {"routers": 7, "users": 12, "rate": 500.0, "interim_seconds": 0.05, "seed": 3}
    settings |= {"retransmission_seconds": 0.05, **options}
    return Simulator(host="127.0.0.1", port=port, secret=SECRET, **settings)  # type: ignore[arg-type] # mixed numbers


def test_its_totals_are_what_the_server_received(server: Server) -> None:
    sending = simulator(server.port)
    sending.run(2.0)
    sending.finish()
    sending.close()
    reported = server.usage()
    assert sending.sent.users == dict.fromkeys(sending.sent.users, Usage()) | reported.users
    assert sending.sent.routers == dict.fromkeys(sending.sent.routers, Usage()) | reported.routers
    assert sending.packets["acknowledged"] == sending.packets["sent"] > 100
    assert sending.packets["replies not genuine"] == 0


def test_the_traffic_has_what_real_traffic_has(server: Server) -> None:
    sending = simulator(server.port)
    sending.run(2.0)
    sending.finish()
    sending.close()
    statuses = Counter(packet["Acct-Status-Type"][0] for packet in server.packets)
    assert all(statuses[status] for status in ("Start", "Interim-Update", "Stop", "Accounting-On"))
    assert any("Acct-Output-Gigawords" in packet for packet in server.packets), "beyond 4 GiB"
    assert any("Event-Timestamp" not in packet for packet in server.packets), "a router without a clock"
    routers = defaultdict(set)
    for packet in server.packets:
        if "User-Name" in packet:
            routers[packet["User-Name"][0]].add(packet["NAS-Identifier"][0])
    assert max(map(len, routers.values())) > 1, "users roam"
    assert sending.packets["duplicated"]
    assert sending.packets["replies lost"]
    assert sending.packets["retransmitted"]


def test_packets_and_replies_that_get_lost_change_nothing() -> None:
    server = Server(silent_share=0.2)
    sending = simulator(server.port)
    sending.run(1.0)
    sending.finish()
    sending.close()
    server.close()
    assert sending.packets["retransmitted"] > 10
    assert {user: usage for user, usage in sending.sent.users.items() if any(usage)} == server.usage().users


def test_a_retransmission_is_the_same_packet_or_has_its_delay_and_a_new_identifier() -> None:
    server = Server(silent_share=0.5)
    sending = simulator(server.port, users=6, retransmission_seconds=0.3)
    sending.run(1.0)
    sending.finish()
    sending.close()
    server.close()
    delayed = [packet for packet in server.packets if packet["Acct-Delay-Time"][0] > 0]
    assert delayed
    assert all("Event-Timestamp" not in packet for packet in delayed)


@pytest.mark.parametrize("secret", [SECRET, "another"])
def test_silence_is_an_error_that_names_the_server(secret: str) -> None:
    server = Server(silent_share=1.0, secret=secret)
    sending = simulator(server.port)
    sending.run(0.1)
    with pytest.raises(Unacknowledged, match=f"7 packets .* 127.0.0.1 port {server.port}, 0 acknowledged"):
        sending.finish(seconds=0.2)
    sending.close()
    server.close()
    assert set(sending.sent.users.values()) == set(sending.sent.routers.values()) == {Usage()}


@contextmanager
def simulate(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", "radmeter", "simulate", *options, "--secret", SECRET]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "RAD"))}
    with subprocess.Popen(
        command, env=kept, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_port_where_nobody_listens_is_an_error_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with simulate("--port", str(port), "--seconds", "600") as process:
        shown, said = process.communicate(timeout=60)
    assert (process.returncode, shown) == (1, "")
    assert said.startswith(f"error: nothing answers at 127.0.0.1 port {port} (Connection refused): ")


def test_a_silent_server_is_told_of_with_what_is_tried_and_until_when() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        began = datetime.now().astimezone().replace(microsecond=0)
        with simulate("--port", str(port), "--seconds", "600", "--format", "json") as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            told = datetime.now().astimezone()
            process.send_signal(signal.SIGINT)
            shown, rest = process.communicate(timeout=60)
    said = re.fullmatch(
        rf"nothing answers at 127.0.0.1 port {port} \(.*\): sending 5 packets again until ([\d:]+); Ctrl-C ends it\n",
        line,
    )
    assert said, line
    until = datetime.combine(began, time.fromisoformat(said[1]), began.tzinfo)
    assert (
        timedelta(seconds=655)
        <= (until - began) % timedelta(days=1)
        <= timedelta(seconds=662) + (told - began)
    )
    assert (process.returncode, shown) == (1, "")
    assert rest.startswith("error: 5 packets without a reply")


def test_a_server_that_falls_silent_and_answers_again_is_told_of() -> None:
    said: list[str] = []
    server = Server()
    sending = simulator(server.port)
    silence = Silence(sending, said.append)
    deadline = monotonic() + 60
    while not sending.heard and monotonic() < deadline:
        sending.run(0.05)
        silence.check(60)
    server.close()
    while not said and monotonic() < deadline:
        sending.run(0.05)
        silence.check(60)
    assert re.fullmatch(
        rf"nothing answers at 127.0.0.1 port {server.port} \(Connection refused\): "
        r"sending \d+ packets? again until [\d:]+; Ctrl-C twice ends it",
        said[0],
    )
    again = Server(port=server.port)
    while len(said) < 2 and monotonic() < deadline:
        sending.run(0.05)
        silence.check(60)
    sending.finish()
    sending.close()
    again.close()
    assert said[1:] == [f"127.0.0.1 port {server.port} answers"]


def test_a_host_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(RadmeterError, match=r"nowhere\.invalid"):
        Simulator(host="nowhere.invalid", port=1813, secret=SECRET)


def test_the_same_seed_plays_the_same_traffic() -> None:
    def play() -> list[tuple[str, int, int]]:
        hotspots = Hotspots(routers=3, users=2, seed=5, run="r")
        reports = [hotspots.next_report(number % 2, float(number)) for number in range(50)]
        return [(report.router.name, report.new_bytes_in, report.new_bytes_out) for report in reports]

    assert play() == play()


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "02-00-00-5D-00-AB:Lobby"),
        (1, "02:00:00:5d:00:ab:Lobby"),
        (2, "0200.005d.00ab"),
        (3, "0200005D00AB:Lobby"),
        (4, "0200-005D-00AB"),
        (5, "02:00:00:5D:00:AB"),
        (6, "02-00-00-5d-00-ab:Lobby"),
    ],
)
def test_routers_write_their_mac_in_different_ways(number: int, written: str) -> None:
    router = Router(number=number, name="r", mac="0200005d00ab", address="10.0.0.1", has_clock=True)
    assert router.called_station_id("Lobby") == written


def test_comparison_shows_every_name_of_either_side() -> None:
    sent = {"b": Usage(1, 2), "a": Usage(3, 4)}
    counted = {"b": Usage(1, 2), "c": Usage(0, 1)}
    assert compare(sent, counted) == [
        Comparison("a", Usage(3, 4), Usage(0, 0)),
        Comparison("b", Usage(1, 2), Usage(1, 2)),
        Comparison("c", Usage(0, 0), Usage(0, 1)),
    ]
    assert [row.equal for row in compare(sent, counted)] == [False, True, False]


def test_the_totals_of_a_run_are_the_difference_over_it() -> None:
    before = Totals(users={"a": Usage(10, 20)})
    after = Totals(users={"a": Usage(15, 20), "b": Usage(1, 1)})
    assert after.since(before).users == {"a": Usage(5, 0), "b": Usage(1, 1)}
