"""Where messages may be sent to."""

import ipaddress

import pytest

from radmeter.webhooks.addresses import Refused, is_public, resolve, target


@pytest.mark.parametrize(
    "ip", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_internet_are_public(ip: str) -> None:
    assert is_public(ipaddress.ip_address(ip))


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%lo",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::808:808",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "2001:0:808:808::f7f7:f7f7",
    ],
)
def test_all_others_are_not(ip: str) -> None:
    assert not is_public(ipaddress.ip_address(ip))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2130706433", "0x7f.1", "127.1", "localhost", "0"])
def test_however_this_machine_is_written_it_is_refused(host: str) -> None:
    with pytest.raises(
        Refused, match="is no public address, and the setting webhook_networks does not allow it"
    ):
        resolve(host, 443, [])


def test_a_network_of_the_setting_is_allowed_and_no_other() -> None:
    allowed = [ipaddress.ip_network("127.0.0.0/29")]
    assert [place.address for place in resolve("127.1", 8443, allowed)] == [("127.0.0.1", 8443)]
    for host in ("127.0.0.9", "::1"):
        with pytest.raises(Refused):
            resolve(host, 443, allowed)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://example.org", ("https", "example.org", 443, "/")),
        ("https://example.org:8443/a/b?c=d&e", ("https", "example.org", 8443, "/a/b?c=d&e")),
        ("http://[::1]:80/", ("http", "::1", 80, "/")),
        ("https://EXAMPLE.org?x", ("https", "example.org", 443, "/?x")),
    ],
)
def test_a_url_is_read(url: str, found: tuple[str, str, int, str]) -> None:
    assert target(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https:///path",
        "https://user@example.org/",
        "https://user:pass@example.org/",
        "https://example.org\\@10.0.0.1/",
        "https://example.org/#x",
        "https://example.org/a b",
        "https://example.org/\r\nHost: 10.0.0.1",
        "https://exämple.org/",
        "https://example.org:99999/",
    ],
)
def test_what_is_no_url_of_an_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        target(url)
