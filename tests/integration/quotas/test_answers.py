"""What becomes of a request after each answer of a router, over real UDP."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import Packets
from support.quota_queue import IMPATIENT, ask, requests, session, set_coa, wait_for, wait_for_state, working
from support.scripted_nas import ACK, NAK, Nas, Received, acknowledges, is_silent, refuses, scripted_nas
from support.servers import Connection


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "coa.key"


@pytest.fixture
def nas(database: str, connection: Connection, key_file: Path) -> Iterator[Nas]:
    """A router with an open session of bob's, and a request for it that is not sent yet."""
    with scripted_nas() as running:
        session(database, Calling_Station_Id="02-00-00-00-00-01", Framed_IP_Address="10.0.0.7")
        set_coa(connection, key_file, address=running.address, port=running.port)
        yield running


def value(connection: Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def test_the_stop_ends_a_request_not_the_ack(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    ask(connection)
    with working(database, key_file):
        row = wait_for_state(connection, "acknowledged")
        assert (row["attempts"], row["error"], row["ended_at"]) == (1, None, None)
        session(database, status="Stop")
        assert wait_for_state(connection, "done")["error"] is None
    (received,) = nas.requests()
    assert (received.act, received.genuine) == ("disconnect", True)
    assert received.get("User-Name") == "bob"
    assert received.get("Acct-Session-Id") == "s1"
    assert received.get("NAS-Identifier") == "lobby"
    assert received.get("Calling-Station-Id") == "02-00-00-00-00-01"
    assert received.packet.verify_message_authenticator()


def test_an_ack_without_effect_is_believed_three_times(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    """The router acknowledged a minute ago, and an interim came since."""
    ask(connection)
    with working(database, key_file):
        for times in (1, 2, 3):
            wait_for(lambda times=times: len(nas.requests()) == times)  # type: ignore[misc]
            wait_for_state(connection, "acknowledged")
            connection.execute(
                """UPDATE radmeter.disconnect_queue
                   SET answered_at = now() - interval '1 minute', next_try_at = now()"""
            )
            session(database, Acct_Input_Octets=times)
        row = wait_for_state(connection, "failed")
    assert "acknowledged 3 times, but the session goes on" in row["error"]
    sets = [each.get("NAS-Identifier") is not None for each in nas.requests()]
    assert sets == [True, False, False]


def test_silence_after_an_ack_closes_the_session(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    ask(connection)
    with working(database, key_file):
        wait_for_state(connection, "acknowledged")
        connection.execute(
            "UPDATE radacct SET interim_interval = 60, arrived_at = now() - interval '4 minutes'"
        )
        connection.execute(
            """UPDATE radmeter.disconnect_queue
               SET answered_at = now() - interval '200 seconds', next_try_at = now()"""
        )
        row = wait_for_state(connection, "done")
    assert row["error"] == "no Stop came: closed as stale"
    assert value(connection, "SELECT acctterminatecause FROM radacct") == "Admin-Reset"
    assert len(nas.requests()) == 1


def test_503_closes_a_session_that_is_silent(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    nas.script = refuses(503)
    connection.execute("UPDATE radacct SET arrived_at = now() - interval '6 minutes'")
    ask(connection)
    with working(database, key_file):
        row = wait_for_state(connection, "done")
    assert row["error_cause"] == 503
    assert value(connection, "SELECT acctstoptime IS NOT NULL FROM radacct") is True
    assert len(nas.requests()) == 1


@pytest.mark.parametrize("cause", [503, None])
def test_503_of_a_session_that_goes_on_tries_the_next_identity_once(
    database: str, connection: Connection, key_file: Path, nas: Nas, cause: int | None
) -> None:
    nas.script = refuses(cause)
    ask(connection)
    with working(database, key_file):
        wait_for(lambda: len(nas.requests()) == 2)
        row = wait_for_state(connection, "waiting")
    first, second = nas.requests()
    assert first.get("NAS-Identifier") == "lobby"
    assert (second.get("NAS-Identifier"), second.get("User-Name"), second.get("Acct-Session-Id")) == (
        None,
        "bob",
        "s1",
    )
    assert (row["attempts"], row["error_cause"], row["ended_at"]) == (2, cause, None)
    assert value(connection, "SELECT acctstoptime FROM radacct") is None
    assert value(connection, "SELECT next_try_at > now() FROM radmeter.disconnect_queue") is True


@pytest.mark.parametrize(
    ("cause", "sent", "state"),
    [
        (401, 2, "failed"),
        (402, 2, "failed"),
        (403, 2, "failed"),
        (404, 1, "failed"),
        (405, 1, "failed"),
        (406, 1, "failed"),
        (407, 1, "failed"),
        (501, 1, "failed"),
        (504, 1, "waiting"),
        (506, 1, "waiting"),
        (508, 2, "failed"),
        (999, 1, "waiting"),
        (4294967295, 1, "waiting"),
    ],
)
def test_each_error_cause_of_a_disconnect_request(
    database: str, connection: Connection, key_file: Path, nas: Nas, cause: int, sent: int, state: str
) -> None:
    nas.script = refuses(cause)
    ask(connection)
    with working(database, key_file):
        wait_for(lambda: len(nas.requests()) == sent)
        wait_for(lambda: requests(connection)[0]["attempts"] == sent)
        row = wait_for_state(connection, state)
    assert row["error_cause"] == cause
    assert str(cause) in row["error"]
    assert len(nas.requests()) == sent


@pytest.mark.parametrize(("cause", "learned"), [(401, None), (405, False), (406, False), (501, False)])
def test_a_coa_request_that_is_not_supported_becomes_a_disconnect_request(
    database: str, connection: Connection, key_file: Path, nas: Nas, cause: int, learned: bool | None
) -> None:
    def script(nas: Nas, received: Received) -> None:
        if received.act == "coa":
            nas.answer(received, NAK, cause)
        else:
            nas.answer(received, ACK)

    nas.script = script
    throttle(connection)
    ask(connection, "coa", reason="throttled")
    with working(database, key_file):
        row = wait_for_state(connection, "acknowledged")
    assert row["act"] == "disconnect"
    assert [each.act for each in nas.requests()] == ["coa", "disconnect"]
    assert value(connection, "SELECT coa_works FROM radmeter.router_coa_state") is learned


def throttle(connection: Connection) -> None:
    """Give bob a plan with speeds, of which his session has been told."""
    connection.execute(
        """WITH plan AS (INSERT INTO plans (name, quota_bytes, speed_up, speed_down)
                         VALUES ('slow', 10000000000, 1000000, 2000000) RETURNING id)
           INSERT INTO subscribers (username, plan_id) SELECT 'bob', id FROM plan"""
    )
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    assert [(row["act"], row["reason"]) for row in requests(connection)] == [("coa", "speeds")]
    connection.execute("DELETE FROM radmeter.disconnect_queue")


def test_a_router_that_ignores_coa_requests_gets_a_disconnect_request_and_is_remembered(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    def script(nas: Nas, received: Received) -> None:
        if received.act == "disconnect":
            nas.answer(received, ACK)

    nas.script = script
    throttle(connection)
    ask(connection, "coa", reason="throttled")
    with working(database, key_file, IMPATIENT):
        # One may have been lost, and the router be away for a moment.
        assert wait_for_state(connection, "waiting")["attempts"] == 1
        assert [each.act for each in nas.requests()] == ["coa"]
        try_again(connection)
        wait_for_state(connection, "acknowledged")
        assert [each.act for each in nas.requests()] == ["coa", "coa", "disconnect"]
        assert value(connection, "SELECT coa_works FROM radmeter.router_coa_state") is False
        session(database, session_id="s2")
        ask_again = """
            UPDATE radmeter.disconnect_queue SET ended_at = now(), state = 'done';
            INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason)
            SELECT radacctid, username, 'coa', 'speeds' FROM radacct WHERE acctsessionid = 's2'"""
        connection.execute(ask_again.encode())
        wait_for(lambda: len(nas.requests()) == 4)
        assert nas.requests()[3].act == "disconnect"
        # After a day the router is asked again: what was seen may have been bad luck.
        connection.execute("UPDATE radmeter.router_coa_state SET learned_at = now() - interval '25 hours'")
        connection.execute(ask_again.encode())
        wait_for(lambda: len(nas.requests()) == 5)
    assert nas.requests()[4].act == "coa"


def try_again(connection: Connection) -> None:
    """Let the pause of a silent router be over."""
    connection.execute(
        """UPDATE radmeter.router_coa_state SET next_try_at = now();
           UPDATE radmeter.disconnect_queue SET next_try_at = now() WHERE ended_at IS NULL"""
    )


def test_a_change_of_limits_only_disconnects_nobody(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    """The next login has the limits. A router that takes no CoA-Request gets no further one."""
    nas.script = refuses(406)
    connection.execute(
        """WITH plan AS (INSERT INTO plans (name, quota_bytes) VALUES ('basic', 10000000) RETURNING id)
           INSERT INTO subscribers (username, plan_id) SELECT 'bob', id FROM plan"""
    )
    set_coa(connection, key_file, vendor="chilli", secret=None)
    limits = "SELECT radmeter.takes_limits(router_id, '{octets_total}') FROM radmeter.router_coa"
    assert value(connection, limits) is True
    ask(connection, "coa", reason="limits")
    with working(database, key_file):
        row = wait_for_state(connection, "failed")
        assert (row["act"], row["error_cause"]) == ("coa", 406)
        assert value(connection, limits) is False
        ask(connection, "coa", reason="limits")
        wait_for(lambda: requests(connection)[1]["state"] == "failed")
        assert "the next login has them" in requests(connection)[1]["error"]
    assert [each.act for each in nas.requests()] == ["coa"]


def test_a_speed_that_a_router_refused_is_sent_again_after_five_minutes(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    nas.script = refuses(404)
    throttle(connection)
    connection.execute("UPDATE plans SET speed_up = 3000000")
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    with working(database, key_file):
        wait_for_state(connection, "failed")
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    assert value(connection, "SELECT due_at > now() FROM radmeter.quota_account") is True
    connection.execute("UPDATE radmeter.disconnect_queue SET ended_at = ended_at - interval '5 minutes'")
    connection.execute("UPDATE radmeter.quota_account SET due_at = now()")
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    assert [(row["reason"], row["state"]) for row in requests(connection)] == [
        ("speeds", "failed"),
        ("speeds", "waiting"),
    ]
    nas.script = acknowledges
    with working(database, key_file):
        wait_for(lambda: requests(connection)[1]["state"] == "done")


def test_an_answer_after_long_silence_counts_as_the_first(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    nas.script = refuses(506)
    ask(connection)
    connection.execute("UPDATE radmeter.disconnect_queue SET attempts = 11")
    with working(database, key_file):
        wait_for(lambda: requests(connection)[0]["naks"] == 1)
    (row,) = requests(connection)
    assert (row["state"], row["attempts"], row["error_cause"]) == ("waiting", 12, 506)


def test_a_retry_begins_anew(connection: Connection, nas: Nas) -> None:
    ask(connection)
    connection.execute(
        "UPDATE radmeter.disconnect_queue SET state = 'failed', ended_at = now(), attempts = 9, naks = 9, acks = 2"
    )
    connection.execute("SELECT radmeter.retry_requests(ARRAY(SELECT id FROM radmeter.disconnect_queue))")
    (row,) = requests(connection)
    assert (row["state"], row["attempts"], row["naks"], row["acks"]) == ("waiting", 0, 0, 0)


@pytest.mark.parametrize("vendor", ["unifi", "meraki", "cisco", "mikrotik"])
def test_a_disconnect_request_does_not_reach_the_next_user_of_the_device(
    database: str, connection: Connection, key_file: Path, nas: Nas, vendor: str
) -> None:
    """The voucher is over. The guest has entered another one, and the Stop of the first session is late."""
    nas.script = refuses(503)
    set_coa(connection, key_file, vendor=vendor, secret=None)
    ask(connection)
    device = {"Calling_Station_Id": "02-00-00-00-00-01", "Framed_IP_Address": "10.0.0.7"}
    with working(database, key_file):
        wait_for_state(connection, "waiting")
        session(database, "carol", "s2", **device)
        connection.execute("UPDATE radmeter.disconnect_queue SET next_try_at = now()")
        wait_for(lambda: requests(connection)[0]["naks"] == 2)
        session(database, "carol", "s2", status="Stop", **device)
        connection.execute("UPDATE radmeter.disconnect_queue SET next_try_at = now()")
        wait_for(lambda: requests(connection)[0]["naks"] == 4)
    named = [each.get("Acct-Session-Id") for each in nas.requests()]
    assert named == ["s1", "s1", "s1", None]


def test_what_waited_for_a_silent_router_is_sent_when_it_answers(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    """Meanwhile it is not looked at each second, and one request at a time is tried."""
    nas.script = is_silent
    for number in range(2, 6):
        session(database, session_id=f"s{number}")
    ask(connection)
    with working(database, key_file, IMPATIENT):
        wait_for(lambda: value(connection, "SELECT failures FROM radmeter.router_coa_state") == 1)
        waiting = "SELECT count(*) FROM radmeter.disconnect_queue WHERE next_try_at > now()"
        wait_for(lambda: value(connection, waiting) == 5)
        asked = len(nas.requests())
        connection.execute(
            """UPDATE radmeter.router_coa_state SET next_try_at = now();
               UPDATE radmeter.disconnect_queue SET next_try_at = now()
               WHERE id = (SELECT min(id) FROM radmeter.disconnect_queue)"""
        )
        wait_for(lambda: value(connection, "SELECT failures FROM radmeter.router_coa_state") == 2)
        assert len(nas.requests()) == asked + 1
        nas.script = acknowledges
        connection.execute(
            """UPDATE radmeter.router_coa_state SET next_try_at = now();
               UPDATE radmeter.disconnect_queue SET next_try_at = now()
               WHERE id = (SELECT min(id) FROM radmeter.disconnect_queue)"""
        )
        acknowledged = "SELECT count(*) FROM radmeter.disconnect_queue WHERE state = 'acknowledged'"
        wait_for(lambda: value(connection, acknowledged) == 5)


def test_names_that_are_not_utf8_are_sent_as_they_came(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    name = b"caf\xe9"
    with Packets(database) as packets:
        packets.add("Interim-Update", "s2", NAS_Identifier="lobby", Tmp_Octets_0="0x" + name.hex())
    ask(connection, name="caf\\xe9")
    with working(database, key_file):
        wait_for_state(connection, "acknowledged")
    (received,) = nas.requests()
    assert received.packet[1] == [name]


def test_a_coa_request_has_all_limits_counted_from_the_start_of_the_session(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    throttle(connection)
    session(database, Acct_Input_Octets=1_000_000_000, Acct_Output_Octets=2_000_000_000)
    set_coa(connection, key_file, vendor="chilli", secret=None)
    ask(connection, "coa", reason="throttled")
    with working(database, key_file):
        assert wait_for_state(connection, "done")["error"] is None
    (received,) = nas.requests()
    assert received.get("ChilliSpot-Bandwidth-Max-Up") == 1000
    assert received.get("Session-Timeout") is None
    assert received.get("ChilliSpot-Bandwidth-Max-Down") == 2000
    # 3 GB used in the session and 7 GB left.
    assert received.get("ChilliSpot-Max-Total-Octets") == 10_000_000_000 % 2**32
    assert received.packet[(14559, 23)] == [(2).to_bytes(4, "big")]


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ("session_timeout = 9000", 9000),
        # An hour was used up, half of it by this session: an hour is left.
        ("quota_seconds = 5400", 5400),
        ("valid_seconds = 7200", 1800 + 7200),
        ("session_timeout = 9000, quota_seconds = 5400, valid_seconds = 7200", 5400),
    ],
)
def test_a_coa_request_has_the_seconds_that_are_left(
    database: str, connection: Connection, key_file: Path, nas: Nas, change: str, seconds: int
) -> None:
    """CoovaChilli would take a missing Session-Timeout for none."""
    throttle(connection)
    connection.execute("UPDATE radacct SET acctstarttime = now() - interval '30 minutes'")
    connection.execute(f"UPDATE plans SET {change}; UPDATE subscribers SET first_used_at = now()".encode())
    set_coa(connection, key_file, vendor="chilli", secret=None)
    ask(connection, "coa", reason="speeds")
    with working(database, key_file):
        assert wait_for_state(connection, "done")["error"] is None
    (received,) = nas.requests()
    timeout = received.get("Session-Timeout")
    assert isinstance(timeout, int)
    assert seconds <= timeout <= seconds + 60


def test_silence_is_remembered_and_the_request_waits(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    nas.script = is_silent
    ask(connection)
    with working(database, key_file, IMPATIENT):
        row = wait_for_state(connection, "waiting")
        wait_for(lambda: value(connection, "SELECT failures FROM radmeter.router_coa_state") == 1)
        assert len(nas.received) == 3
        assert len({(each.datagram, each.sender) for each in nas.received}) == 1
        assert f"no answer from 127.0.0.1 port {nas.port}" in row["error"]
        connection.execute("SELECT radmeter.retry_requests(ARRAY[%s::bigint])", (row["id"],))
        nas.script = acknowledges
        wait_for_state(connection, "acknowledged")
        assert value(connection, "SELECT failures FROM radmeter.router_coa_state") == 0


def test_the_third_try_is_answered(database: str, connection: Connection, key_file: Path, nas: Nas) -> None:
    def script(nas: Nas, received: Received) -> None:
        if len(nas.received) == 3:
            nas.answer(received, ACK)

    nas.script = script
    ask(connection)
    with working(database, key_file, IMPATIENT):
        row = wait_for_state(connection, "acknowledged")
    assert row["attempts"] == 1
    assert len({(each.datagram, each.sender) for each in nas.received}) == 1


@pytest.mark.parametrize("how", ["forged", "other secret", "other identifier", "bad signature", "cut"])
def test_an_answer_that_is_not_the_routers_is_ignored(
    database: str, connection: Connection, key_file: Path, nas: Nas, how: str
) -> None:
    def script(nas: Nas, received: Received) -> None:
        if how == "other secret":
            nas.answer(received, ACK, secret=b"another")
            return
        there = received.sender
        nas_answer = bytearray(_ack(nas, received))
        if how == "forged":
            nas_answer[5] ^= 1
        elif how == "other identifier":
            nas_answer[1] ^= 1
        elif how == "bad signature":
            nas_answer[-1] ^= 1
        elif how == "cut":
            nas_answer = nas_answer[:-3]
        nas.send(bytes(nas_answer), there)

    nas.script = script
    ask(connection)
    with working(database, key_file, IMPATIENT):
        row = wait_for_state(connection, "waiting")
    assert row["answered_at"] is None
    assert len(nas.received) == 3


def test_a_router_can_be_required_to_sign_its_answers(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    """An attacker in the path can forge MD5 alone."""

    def unsigned(nas: Nas, received: Received) -> None:
        nas.answer(received, ACK, signed=False)

    nas.script = unsigned
    set_coa(connection, key_file, secret=None, signed_answers=True)
    ask(connection)
    with working(database, key_file, IMPATIENT):
        row = wait_for_state(connection, "waiting")
        assert row["answered_at"] is None
        nas.script = acknowledges
        connection.execute("SELECT radmeter.retry_requests(ARRAY[%s::bigint])", (row["id"],))
        wait_for_state(connection, "acknowledged")
        connection.execute("UPDATE radmeter.disconnect_queue SET state = 'waiting', next_try_at = now()")
        nas.script = unsigned
        set_coa(connection, key_file, secret=None, signed_answers=False)
        wait_for_state(connection, "acknowledged")


def _ack(nas: Nas, received: Received) -> bytes:
    """Make an ACK without sending it."""
    quiet = Nas(nas.address, nas.port, nas.script, nas.secret)
    kept: list[bytes] = []
    quiet.send = lambda datagram, to: kept.append(datagram)  # type: ignore[method-assign]
    return quiet.answer(received, ACK)


def test_a_late_answer_to_an_earlier_request_is_not_the_answer_to_this_one(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    late: list[bytes] = []

    def script(nas: Nas, received: Received) -> None:
        if not late:
            late.append(_ack(nas, received))
        elif received.datagram != nas.received[0].datagram:
            # With the Identifier of the new request, and the authenticator of the old one.
            nas.send(bytes([late[0][0], received.datagram[1]]) + late[0][2:], received.sender)
            nas.answer(received, NAK, 404)

    nas.script = script
    ask(connection)
    with working(database, key_file, IMPATIENT):
        row = wait_for_state(connection, "waiting")
        connection.execute("SELECT radmeter.retry_requests(ARRAY[%s::bigint])", (row["id"],))
        assert wait_for_state(connection, "failed")["error_cause"] == 404


def test_a_wrong_secret_is_silence(database: str, connection: Connection, key_file: Path, nas: Nas) -> None:
    def script(nas: Nas, received: Received) -> None:
        if received.genuine:
            nas.answer(received, ACK)

    nas.script = script
    set_coa(connection, key_file, secret=b"typo")
    ask(connection)
    with working(database, key_file, IMPATIENT):
        assert "no answer" in wait_for_state(connection, "waiting")["error"]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("UPDATE radmeter.router_coa SET secret = NULL", "radmeter routers set '#"),
        ("UPDATE radmeter.router_coa SET secret = 'gAAAA'", "encrypted with a key that is not in"),
        (
            """UPDATE radmeter.router_coa SET address = NULL; UPDATE routers SET ip_address = NULL;
               UPDATE radacct SET nasipaddress = '0.0.0.0'""",
            "has no address: radmeter routers set '#",
        ),
    ],
)
def test_without_a_secret_the_request_stays_and_names_the_command(
    database: str, connection: Connection, key_file: Path, nas: Nas, lost: str, said: str
) -> None:
    connection.execute(lost.encode())
    ask(connection)
    with working(database, key_file):
        assert said in wait_for(lambda: requests(connection)[0]["error"])
        assert nas.received == []
        set_coa(connection, key_file, address=nas.address)
        wait_for_state(connection, "acknowledged")


def end_session(database: str, connection: Connection) -> None:
    session(database, status="Stop")


def erase(database: str, connection: Connection) -> None:
    connection.execute("UPDATE radacct SET username = 'erased-1'")


def serve_again(database: str, connection: Connection) -> None:
    connection.execute("UPDATE radmeter.disconnect_queue SET requested_by = NULL, reason = 'over'")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (end_session, "the session has ended"),
        (erase, "the session has another user name now"),
        (serve_again, "the user has no limits any more"),
    ],
)
def test_what_has_no_purpose_any_more_is_ended_without_sending(
    database: str,
    connection: Connection,
    key_file: Path,
    nas: Nas,
    change: Callable[[str, Connection], None],
    said: str,
) -> None:
    ask(connection)
    change(database, connection)
    with working(database, key_file):
        assert wait_for_state(connection, "dropped")["error"] == said
    assert nas.received == []


@pytest.mark.parametrize(
    ("vendor", "reason", "speed_up", "act"),
    [
        ("mikrotik", "throttled", "1000000", "coa"),
        ("mikrotik", "restored", "1000000", "coa"),
        # The router's own speed, which no attribute brings back.
        ("mikrotik", "restored", "NULL", "disconnect"),
        ("chilli", "restored", "NULL", "coa"),
        # There is no attribute for a speed.
        ("cisco", "throttled", "1000000", "disconnect"),
        ("aruba", "throttled", "1000000", "disconnect"),
        ("unifi", "throttled", "1000000", "disconnect"),
    ],
)
def test_a_change_that_no_attribute_makes_is_a_new_login(
    database: str,
    connection: Connection,
    key_file: Path,
    nas: Nas,
    vendor: str,
    reason: str,
    speed_up: str,
    act: str,
) -> None:
    throttle(connection)
    connection.execute(f"UPDATE plans SET speed_up = {speed_up}".encode())
    set_coa(connection, key_file, vendor=vendor, secret=None)
    ask(connection, "coa", reason=reason)
    with working(database, key_file):
        row = wait_for_state(connection, "acknowledged" if act == "disconnect" else "done")
    assert [each.act for each in nas.requests()] == [act]
    assert row["act"] == act


@pytest.mark.parametrize(
    ("vendor", "act"), [("aruba", "coa"), ("cisco", "disconnect"), ("meraki", "disconnect")]
)
def test_a_role_stands_for_speeds(
    database: str, connection: Connection, key_file: Path, nas: Nas, vendor: str, act: str
) -> None:
    """In mid-session where the vendor takes it, else by a new login."""
    throttle(connection)
    connection.execute("UPDATE plans SET role = 'fast'")
    connection.execute("INSERT INTO plan_tiers SELECT id, 0, 64000, 64000, 'slow' FROM plans")
    connection.execute("SELECT radmeter.apply_due_quotas(100)")
    set_coa(connection, key_file, vendor=vendor, secret=None)
    with working(database, key_file):
        wait_for_state(connection, "acknowledged" if act == "disconnect" else "done")
    (received,) = nas.requests()
    assert received.act == act
    if act == "coa":
        assert received.get("Aruba-User-Role") == "slow"


def test_without_an_address_a_request_goes_where_the_packets_come_from(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    """The NAS-IP-Address is that of another network, as behind NAT. A detail file's client is an old one."""
    set_coa(connection, key_file, address=None, secret=None)
    for node, client, ago in (("now", "127.0.0.1", 0), ("detail", "192.0.2.9", 7200)):
        with Packets(database, node) as packets:
            packets.add(
                "Interim-Update",
                f"s-{node}",
                ago=ago,
                User_Name="bob",
                NAS_Identifier="lobby",
                Tmp_IP_Address_0=client,
            )
            packets._batch[-1]["new_client"] = True  # the shipper marks them
    ask(connection)
    with working(database, key_file):
        wait_for(lambda: len(nas.requests()) == 3)
    assert value(connection, "SELECT host(packets_from) FROM radmeter.router_coa_state") == "127.0.0.1"


def test_a_session_with_a_later_packet_is_not_closed(connection: Connection, nas: Nas) -> None:
    """It came between the claim and the answer."""
    connection.execute("UPDATE radacct SET arrived_at = now() - interval '4 minutes'")
    close = "SELECT radmeter.close_gone(ARRAY(SELECT radacctid FROM radacct), '{%s}') = '{}'"
    assert value(connection, close % 300) is True
    assert value(connection, close % 200) is False


def test_while_a_shipper_has_a_backlog_no_session_is_closed(
    database: str, connection: Connection, key_file: Path, nas: Nas
) -> None:
    """Its later packets may be in that journal."""
    nas.script = refuses(503)
    connection.execute("UPDATE radacct SET arrived_at = now() - interval '6 minutes'")
    with Packets(database, "behind") as packets:
        packets.add("Start", "s9", ago=1800, User_Name="carol", NAS_Identifier="lobby")
    assert value(connection, "SELECT count(*) FROM radmeter.lagging_nodes()") == 1
    ask(connection)
    with working(database, key_file):
        row = wait_for_state(connection, "waiting")
    assert row["error_cause"] == 503
    assert value(connection, "SELECT acctstoptime FROM radacct") is None
