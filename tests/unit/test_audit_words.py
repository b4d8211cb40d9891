"""Lines of audit_log in plain words: what was changed, before and after."""

from typing import Any

import pytest

from radmeter.database.audit_words import words


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        (
            {
                "before": {"id": 1, "name": "acme", "tax_rate": 0, "tax_rule": None, "updated_at": "x"},
                "after": {"id": 1, "name": "acme", "tax_rate": 19, "tax_rule": "VAT 19 %", "updated_at": "y"},
            },
            "acme: tax rate 0 -> 19, tax rule none -> VAT 19 %",
        ),
        (
            {"before": {"name": "acme"}, "after": {"name": "wien"}},
            "acme: name acme -> wien",
        ),
        (
            {
                "tenant": "acme",
                "from": "2026-01-01",
                "before": None,
                "after": {"unit": "GB", "price": "0.5", "tiers": [{"from": "100", "price": "0.4"}]},
            },
            "tenant acme, from 2026-01-01: unit none -> GB, price none -> 0.5, "
            "tiers none -> (from 100, price 0.4)",
        ),
        (
            {"router": 3, "name": "lobby", "from": "2026-01-01", "until": None, "tenant": "acme", "before": None},
            "name lobby, router 3, from 2026-01-01, tenant none -> acme",
        ),
        ({"setting": "rounding", "before": "half-up", "after": "half-even"}, "setting rounding: half-up -> half-even"),
        ({"role": "web", "tenant": None, "before": "acme"}, "role web, tenant acme -> none"),
        ({"documents": 5, "first": "1", "last": "5", "invoices": [1, 2, 3, 4, 5]},
         "documents 5, first 1, last 5, invoices 1 2 3 and 2 more"),
        ([{"username": "alice", "outcome": "added"}] * 5,
         "username alice, outcome added; username alice, outcome added; username alice, outcome added; and 2 more"),
        ({"plan": "gold", "undo": False}, "plan gold, undo no"),
        ({"before": {"name": "a"}, "after": {"name": "a"}}, "a: nothing changed"),
        ({"router": 3, "before": {"name": "a"}}, "router 3, was name a"),
        ("text", "text"),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_line_in_words(detail: Any, text: str) -> None:
    assert words(detail) == text
