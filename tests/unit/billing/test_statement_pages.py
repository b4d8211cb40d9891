"""The pages of a statement: what belongs together stays together."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from support import pdf as pages

from radmeter.billing.statements import layout, pdf
from radmeter.billing.statements.document import Document, RouterUsage, Statement
from radmeter.billing.wording import ENGLISH

OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)


def made(routers: int) -> Statement:
    used = [
        RouterUsage(router_id=each, name=f"router {each}", mac=None, timezone="UTC", month=OCTOBER, days=31,
                    bytes_in=each, bytes_out=each)
        for each in range(routers)
    ]  # fmt: skip
    document = Document(
        id=1, status="issued", number="1", period_start=OCTOBER, period_end=NOVEMBER, currency="EUR", digits=2,
        issued_on=NOVEMBER, voided_on=None, usage_bytes=0, net=Decimal(1), tax=Decimal(0), amount=Decimal(1),
        taxes=[], recipient={}, issuer={}, terms={"rounding": "half-up"}, lines=[], credits=[], days=[],
        routers=used)  # fmt: skip
    return Statement(tenant="acme", language="en", period=OCTOBER, documents=[document])


@pytest.mark.parametrize("shift", range(4))
def test_notes_are_never_alone_on_a_page(tmp_path: Path, shift: int) -> None:
    """Where the table of routers ends at the end of a page, its sum goes on to the next with them."""
    turned = False
    for routers in range(28 + shift, 44, 4):
        target = tmp_path / f"{routers}.pdf"
        target.write_bytes(pdf.as_pdf(layout.lay_out(made(routers), ENGLISH), "").content)
        count = pages.pages_of(target)
        turned = turned or count == 2
        last = pages.text_of(target, count)
        assert "A day is that of the router" in last
        assert "Sum" in last
        assert "Octets in" in last
    assert turned
