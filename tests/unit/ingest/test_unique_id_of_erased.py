"""A packet cannot bring the unique id that `radmeter people erase` keeps in packets that were set aside."""

import json

from radmeter.ingest.records import as_json, as_rejected
from radmeter.packet.attributes import UNIQUE_ID_OF_ERASED
from radmeter.packet.record import parse
from radmeter.plugin.journal.reader import Entry

ARRIVAL_US = 1_700_000_000_000_000
PAIRS = [
    ["Acct-Status-Type", "Stop"],
    ["Acct-Session-Id", "1"],
    ["User-Name", "anna"],
    ["NAS-Identifier", "lobby"],
]
FORGED = [UNIQUE_ID_OF_ERASED, "f" * 32]


def entry(pairs: object) -> Entry:
    return Entry(1, ARRIVAL_US, json.dumps(pairs))


def test_in_a_journal_or_a_detail_file_it_is_no_unique_id() -> None:
    """Both come through `as_json`."""
    assert as_json(entry([FORGED, *PAIRS])) == as_json(entry(PAIRS))
    escaped = json.dumps([FORGED, *PAIRS]).replace("Radmeter", "\\u0052admeter")
    assert as_json(Entry(1, ARRIVAL_US, escaped)) == as_json(entry(PAIRS))


def test_it_is_not_set_aside_with_a_packet() -> None:
    """Else it would be believed when the packet is retried."""
    assert as_rejected(entry([*PAIRS, FORGED]), "odd")["pairs"] == PAIRS
    refused = [["Acct-Status-Type", "Subsystem-On"], *PAIRS[1:]]
    assert as_json(entry([FORGED, *refused]))["pairs"] == refused


def test_in_a_packet_that_was_set_aside_it_is_the_unique_id() -> None:
    assert parse(json.dumps([FORGED, *PAIRS]), ARRIVAL_US, 1, set_aside=True).uid == "f" * 32
