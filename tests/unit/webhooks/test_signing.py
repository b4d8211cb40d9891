"""Signatures of Standard Webhooks 1.0.0."""

import base64

import pytest

from radmeter.webhooks.signing import headers, new_secret, secret_bytes


def test_the_example_of_the_reference_libraries() -> None:
    found = headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        [secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
    )
    assert found == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_in_force_gives_a_signature() -> None:
    keys = [secret_bytes(new_secret()), secret_bytes(new_secret())]
    both = headers("msg_1", 1, b"{}", keys)["webhook-signature"].split()
    assert both == [headers("msg_1", 1, b"{}", [key])["webhook-signature"] for key in keys]
    assert len(set(both)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + "!" * 44,
        "whsec_ü",
    ],
)
def test_what_is_no_secret_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(
        ValueError, match="a secret is whsec_ and the base64 of 24 to 64 random bytes"
    ) as error:
        secret_bytes(text)
    assert len(text) < 10 or text not in str(error.value)
