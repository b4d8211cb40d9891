"""Pseudonyms of exports."""

from pathlib import Path

import pytest

from radmeter.errors import ConfigurationError
from radmeter.people.pseudonyms import Pseudonyms

KEY = Pseudonyms(b"0123456789abcdef")
ROW = {
    "id": 7,
    "username": "alice",
    "router": "lobby",
    "bytes_in": 5,
    "calling_station_id": "AA-BB-CC-DD-EE-FF",
    "framed_ip": "198.51.100.7",
    "session_id": "8120",
    "unique_id": None,
}


def test_who_it_is_is_replaced_and_the_rest_stays() -> None:
    made = KEY.applied(ROW)
    assert made.keys() == ROW.keys()
    assert {name for name in ROW if made[name] != ROW[name]} == {
        "username", "calling_station_id", "framed_ip", "session_id",
    }  # fmt: skip
    # HMAC-SHA256, as RFC 2104 says: a value that was computed with openssl.
    assert made["username"] == "user-" + OPENSSL


# printf 'user\0alice' | openssl dgst -sha256 -mac HMAC -macopt key:0123456789abcdef
OPENSSL = "69667e0df153a0f2b5b56b32"


def test_the_same_person_has_the_same_pseudonym_under_one_key_only() -> None:
    assert KEY.applied(ROW) == Pseudonyms(b"0123456789abcdef").applied(ROW)
    one, other = Pseudonyms.of_one_run(), Pseudonyms.of_one_run()
    assert len({made.of("user", "alice") for made in (KEY, one, other)}) == 3


def test_kinds_have_different_pseudonyms() -> None:
    row = KEY.applied({"username": "aabbccddeeff", "calling_station_id": "aabbccddeeff"})
    assert row["username"].partition("-")[2] != row["calling_station_id"].partition("-")[2]


@pytest.mark.parametrize(
    "written", ["aa:bb:cc:dd:ee:ff", "AABBCCDDEEFF", "aabb.ccdd.eeff", " AA-BB-CC-DD-EE-FF "]
)
def test_a_mac_has_one_pseudonym_however_it_is_written(written: str) -> None:
    assert KEY.applied({"calling_station_id": written}) == KEY.applied(
        {"calling_station_id": ROW["calling_station_id"]}
    )


def test_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"0123456789abcdef\n")
    assert Pseudonyms.with_key_file(path).applied(ROW) == KEY.applied(ROW)
    path.write_bytes(b"short\n")
    with pytest.raises(ConfigurationError, match="has 5 bytes, fewer than 16"):
        Pseudonyms.with_key_file(path)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        Pseudonyms.with_key_file(tmp_path / "none")
