"""Whatever a packet says, it becomes a record for the database or is rejected with the reason."""

import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from support.fuzz import fuzzing

from radmeter.errors import RejectedPacket
from radmeter.ingest.records import as_json
from radmeter.packet import attributes as a
from radmeter.packet.record import MOST_OCTETS, AccountingRecord, parse
from radmeter.plugin.journal.reader import Entry

NAMES = sorted({value for name, value in vars(a).items() if name.isupper() and isinstance(value, str)})
NAMES += [*a.TEXT_AS_OCTETS]
VALUES = st.one_of(
    st.text(max_size=30),
    st.integers(-1, 2**70).map(str),
    st.sampled_from(
        [*a.STATUS_NAMES, "", "0x", "0xff", "0x61693a", "0xzz", "192.0.2.1", "::1", "fe80::1%eth0"]
    ),
    st.sampled_from(
        ["0x" + b"ai:0123456789abcdef0123456789abcdef".hex(), "AA-BB-CC-DD-EE-FF:x", "٣", "1e9", "\0"]
    ),
    st.binary(max_size=20).map(lambda octets: "0x" + octets.hex()),
    st.sampled_from(["Nov 20 2026 11:42:58 UTC", "Feb 30 2026 11:42:58 UTC", "\ud800", "\\x00"]),
)
PAIRS = st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=10)), VALUES), max_size=20)
LIKELY = st.tuples(
    st.just(("Acct-Status-Type", "Interim-Update")),
    st.just(("Acct-Session-Id", "s")),
    st.just(("NAS-Identifier", "n")),
)
TIMES = st.one_of(st.integers(1_795_000_000_000_000, 1_795_900_000_000_000), st.integers(-(2**63), 2**63 - 1))


def assert_sound(record: AccountingRecord) -> None:
    orjson.dumps(record.as_json())
    for octets in (record.input_octets, record.output_octets):
        assert octets is None or 0 <= octets <= MOST_OCTETS
    assert record.session_time is None or 0 <= record.session_time <= 400 * 86400
    assert record.interim_interval is None or 0 < record.interim_interval <= 86400
    assert len(record.uid) == 32
    assert record.router_key.strip("\t")


@fuzzing(250)
@given(likely=st.one_of(st.just(()), LIKELY), pairs=PAIRS, received_us=TIMES)
def test_any_pairs(likely: Any, pairs: list[tuple[str, str]], received_us: int) -> None:
    text = json.dumps([*likely, *pairs], ensure_ascii=True)
    try:
        record = parse(text, received_us, 1)
    except RejectedPacket:
        return
    assert_sound(record)


@fuzzing(250)
@given(likely=LIKELY, pairs=PAIRS, received_us=TIMES)
def test_any_pairs_as_they_are(likely: Any, pairs: list[tuple[str, str]], received_us: int) -> None:
    """rlm_python3 gives valid text only. The parser says itself what it cannot read, and not by an accident."""
    pairs = [(name, value) for name, value in [*pairs, *likely] if "\ud800" not in value]
    try:
        record = AccountingRecord.from_pairs(pairs, received_us)
    except RejectedPacket:
        return
    assert_sound(record)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@fuzzing(200)
@given(text=st.one_of(st.text(max_size=60), JSON.map(json.dumps), st.lists(st.lists(JSON)).map(json.dumps)))
def test_any_text_of_a_journal(text: str) -> None:
    """Also what cannot be parsed goes to the database, which keeps it with the reason."""
    record = as_json(Entry(1, 7, text))
    sent = json.loads(orjson.dumps([record]))
    assert "reason" in sent[0] or sent[0]["uid"]
