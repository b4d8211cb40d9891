"""`radmeter.ingest.halving`: every item goes once, in order, and those that are refused alone."""

import random
from collections.abc import Sequence

import pytest

from radmeter.errors import RecordRefused, RowConflict, StoreUnavailable
from radmeter.ingest.halving import send_halving


@pytest.mark.parametrize("seed", range(20))
def test_every_item_goes_once_in_order_and_the_refused_ones_alone(seed: int) -> None:
    rng = random.Random(seed)
    batch = list(range(rng.randrange(1, 40)))
    refused = {each for each in batch if rng.random() < rng.choice((0, 0.1, 1))}
    done: list[tuple[int, str]] = []

    def send(part: Sequence[int]) -> None:
        if bad := refused.intersection(part):
            raise RecordRefused(f"no {min(bad)}")
        done.extend((each, "") for each in part)

    send_halving(batch, send, lambda each, reason: done.append((each, reason)))
    assert done == [
        (each, f"the database refuses it: no {each}" if each in refused else "") for each in batch
    ]


def test_a_batch_that_is_taken_is_sent_as_a_whole() -> None:
    sent: list[Sequence[str]] = []
    send_halving("abcdefg", sent.append, lambda each, reason: pytest.fail(reason))
    assert sent == ["abcdefg"]


@pytest.mark.parametrize(
    ("batch", "error"), [("abc", StoreUnavailable("away")), ("", RecordRefused("the checkpoint"))]
)
def test_what_is_about_no_item_is_not_halved(batch: str, error: Exception) -> None:
    calls = []

    def send(part: Sequence[str]) -> None:
        calls.append(part)
        raise error

    with pytest.raises(type(error)):
        send_halving(batch, send, lambda each, reason: pytest.fail(reason))
    assert calls == [batch]


def test_what_a_constraint_refuses_is_sent_again_before_it_is_halved() -> None:
    """Another writer's row was in the way, and is there now."""
    sent: list[str] = []
    refusals = [
        RowConflict("twice"),
        None,
        RowConflict("twice"),
        RowConflict("twice"),
        RowConflict("once"),
        None,
        None,
    ]

    def send(part: Sequence[str]) -> None:
        sent.append("".join(part))
        refusal = refusals.pop(0)
        if refusal is not None:
            raise refusal

    send_halving("abcd", send, lambda each, reason: pytest.fail(reason))
    assert sent == ["abcd", "abcd"]
    sent.clear()
    send_halving("abcd", send, lambda each, reason: pytest.fail(reason))
    assert sent == ["abcd", "abcd", "ab", "ab", "cd"]
