"""docs/operators/billing.md: its commands, for a month that has ended, in a small scene."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.documents import block, changed, run
from support.servers import Connection

# A session of two hours at noon on each of four weeks' days.
SESSIONS = """
INSERT INTO radacct (acctuniqueid, acctsessionid, username, router_id, nasipaddress, acctstarttime, acctupdatetime,
                     acctstoptime, acctsessiontime, acctinputoctets, acctoutputoctets)
SELECT day, day, 'alice', router.id, '10.0.0.1', began, began + interval '2 h', began + interval '2 h',
       7200, 150000000, 2350000000
FROM routers AS router,
     generate_series(0, 27) AS day,
     LATERAL (VALUES (%s::timestamptz + day * interval '1 day' + interval '12 h')) AS noon (began)
WHERE router.name = 'lobby'"""


@pytest.mark.timeout(240)
def test_billing(
    database: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    month = (now.replace(day=1) - timedelta(days=1)).replace(day=1)
    end = now.replace(day=1) - timedelta(days=1)
    days = {"2026-10-01": f"{month:%F}", "2026-10-31": f"{end:%F}", "2026-10": f"{month:%Y-%m}"}
    monkeypatch.chdir(tmp_path)

    def page(text: str, changes: dict[str, str]) -> list[str]:
        return run(
            changed(text, {old: new for old, new in changes.items() if old in text}),
            database,
            asks=("billing close", "billing issue 2", "billing reconcile"),
            RADMETER_BILLING_DIRECTORY=str(tmp_path / "billing"),
            RADMETER_BILLING_KEY_FILE=str(tmp_path / "billing.key"),
        )

    for command in (
        f"partitions ensure {month:%Y-%m}",
        "routers add --name lobby",
        "billing issuers set default --legal-name Example --tax-id DE1",
        "billing settings --settling-hours 0",
    ):
        page(f"radmeter {command}", {})
    *_, shown = page(block("operators/billing.md", "tenant"), {"2026-01-01": f"{month:%F}"})
    assert "lobby" in shown
    connection.execute(SESSIONS, (month.replace(hour=0, minute=0, second=0, microsecond=0),))
    page(block("operators/billing.md", "month"), days)
    # "2026-000001" is the first number that the issuer gives.
    ((number,),) = connection.execute("SELECT number FROM invoices").fetchall()
    Path("statements").mkdir()
    page(block("operators/billing.md", "statements"), {**days, "2026-000042": number})
    page(
        block("operators/billing.md", "exports"),
        {**days, "2026-11": f"{now:%Y-%m}", "2026-01-01": f"{month:%F}"},
    )
    made = {path.name for path in tmp_path.iterdir()}
    assert {"acme.pdf", "acme.html", "invoice.pdf", "invoices.xlsx", "lines.csv", "acme.parquet"} <= made
    page(
        block("operators/billing.md", "reports"),
        {**days, "2026-01-01": f"{month:%F}", "2025-10": f"{(month - timedelta(days=1)):%Y-%m}"},
    )
    page(block("operators/billing.md", "reconcile"), {})
    assert connection.execute(block("operators/billing.md", "copy").encode()).rowcount == 1
