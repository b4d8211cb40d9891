"""Each reason of a rejected packet has a label, and there are few."""

import re
from pathlib import Path

import pytest

import radmeter
from radmeter.errors import RejectedPacket
from radmeter.metrics.reasons import OTHER, REASONS, label
from radmeter.packet.record import AccountingRecord

LABELS = {name for _, name in REASONS} | {OTHER}
SQL = Path(radmeter.__file__).parents[2] / "sql" / "functions" / "ingest" / "record_fault.sql"
GOOD = {
    "Acct-Status-Type": "Interim-Update",
    "Acct-Session-Id": "s1",
    "NAS-IP-Address": "192.0.2.1",
    "Called-Station-Id": "AA-BB-CC-DD-EE-FF",
}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"Acct-Status-Type": "Nonsense"}, "status"),
        ({"Acct-Status-Type": None}, "status"),
        ({"Acct-Session-Id": None}, "session id"),
        ({"NAS-IP-Address": None, "Called-Station-Id": None}, "no router"),
        ({"Acct-Input-Octets": "many"}, "octets"),
        ({"Acct-Input-Octets": "1", "Acct-Input-Gigawords": "4294967295"}, "octets"),
        ({"Acct-Session-Time": "-1"}, "session time"),
        ({"Acct-Delay-Time": "soon"}, "not a number"),
    ],
)
def test_the_parsers_reasons(attributes: dict[str, str | None], expected: str) -> None:
    pairs = [(name, value) for name, value in (GOOD | attributes).items() if value is not None]
    with pytest.raises(RejectedPacket) as refused:
        AccountingRecord.from_pairs(pairs, received_us=1_800_000_000_000_000, seq=1)
    assert label(str(refused.value)) == expected


def test_the_databases_reasons() -> None:
    texts = re.findall(r"THEN (?:format\()?'([^']+)'", SQL.read_text())
    assert len(texts) >= 6
    assert OTHER not in {label(text.replace("%s", "7")) for text in texts}


def test_there_are_few_labels_and_no_value_of_a_packet() -> None:
    assert len(LABELS) < 20
    assert label("something new: alice") == OTHER
    assert label("Acct-Input-Octets 'alice' is not an integer from 0 to 4294967295") in LABELS
