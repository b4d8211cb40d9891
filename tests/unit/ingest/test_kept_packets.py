"""A user's packets are found in segments, in whatever way a release or the policy has written the name."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from radmeter.ingest.kept_packets import packets_of
from radmeter.plugin.journal.packet_text import to_ascii, to_text
from radmeter.plugin.journal.writer import JournalWriter

NAME = "zoë"


def octets(text: str) -> str:
    return "0x" + text.encode().hex()


PLAIN = [("User-Name", NAME), ("Acct-Session-Id", "s1")]
# The policy passes all text as octets if some text of the packet is not UTF-8.
AS_OCTETS = [
    ("Tmp-Octets-0", octets(NAME)),
    ("Tmp-Octets-1", octets("s1")),
    ("Tmp-Octets-3", "0x636166e9"),
]
REST = [("Acct-Status-Type", "Stop"), ("NAS-IP-Address", "192.0.2.1"), ("Acct-Input-Octets", "7")]


@pytest.mark.parametrize("to_record", [to_text, json.dumps, to_ascii], ids=["names first", "JSON", "ASCII"])
@pytest.mark.parametrize("pairs", [PLAIN + REST, REST + PLAIN, AS_OCTETS + REST, REST + AS_OCTETS])
def test_each_form_is_found(tmp_path: Path, to_record: object, pairs: list[tuple[str, str]]) -> None:
    assert callable(to_record)
    with closing(JournalWriter(tmp_path)) as journal:
        journal.append(time.time_ns() // 1000, to_record(pairs))
    assert [(row["username"], row["reported_in"]) for row in packets_of(tmp_path, NAME, [], None)] == [
        (NAME, 7)
    ]
    assert list(packets_of(tmp_path, "zo", [], None)) == []
