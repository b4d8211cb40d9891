"""Documents, routers of tenants, counters and sessions for the tests of exports, and exports read back."""

import hashlib
import json
import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from support.commands import Result, radmeter
from support.servers import Connection

# acme is billed in EUR, kuwait in KWD (3 digits). Router 1 is acme's until the 16th of October, then kuwait's; router 2
# is acme's; router 3 is nobody's. The invoices are written as the close writes them.
BILLED = """
INSERT INTO radmeter.tenants (id, name, currency, digits, timezone, issuer_id)
VALUES (1, 'acme', 'EUR', 2, 'UTC', 1), (2, 'kuwait', 'KWD', 3, 'Asia/Kuwait', 1);
INSERT INTO public.routers (id, name, mac, timezone) VALUES
    (1, 'lobby', 'aa:bb:cc:00:00:01', 'UTC'), (2, 'bar', 'aa:bb:cc:00:00:02', 'Asia/Kuwait'),
    (3, 'attic', 'aa:bb:cc:00:00:03', NULL);
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES
    (1, '2026-01-01', 1), (1, '2026-10-16', 2), (2, '2026-01-01', 1), (3, '2026-11-05', 2);
INSERT INTO public.router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
SELECT router, day, router * 1000 + extract(day FROM day), 5000000000
FROM generate_series(1, 3) AS router, generate_series(date '2026-09-29', date '2026-11-02', '1 day') AS day;
INSERT INTO radmeter.billing_close (id, period, tenant_id)
VALUES (1, '2026-10-01', 1), (2, '2026-10-01', 2), (3, '2026-10-01', NULL);
INSERT INTO public.subscribers (username, plan_id, tenant_id)
SELECT 'alice', id, 1 FROM public.plans ORDER BY id LIMIT 1;
INSERT INTO public.user_quota_usage (username, period_start, bytes_in, bytes_out) VALUES
    ('alice', '2026-09-01', 1, 1), ('alice', '2026-10-01', 10, 9007199254740993), ('bob', '2026-10-01', 7, 8),
    ('alice', '2026-11-01', 1, 1);
INSERT INTO public.invoices (id, username, tenant_id, of_tenant_id, close_id, status, issuer_id, number_year, sequence,
    number, issued_at, period_start, period_end, currency, digits, usage_bytes, net, tax, amount,
    issuer)
VALUES
    (11, NULL, 1, NULL, 1, 'issued', 1, 0, 1, '2026-000001', '2026-11-03 08:00:00.5Z', '2026-10-01', '2026-11-01',
     'EUR', 2, 155000001000, 77.50, 14.73, 92.23, '{"name": "default"}'),
    (12, NULL, 2, NULL, 2, 'draft', 1, NULL, NULL, NULL, NULL, '2026-10-01', '2026-11-01',
     'KWD', 3, 80000000000, 40.001, 0, 40.001, '{"name": "default"}'),
    (13, 'alice', NULL, 1, NULL, 'issued', 1, NULL, NULL, NULL, '2026-11-03Z', '2026-10-01', '2026-11-01',
     'EUR', 2, NULL, 9.9, 0, 9.9, NULL);
INSERT INTO public.invoice_lines (invoice_id, line, kind, period_start, period_end, description, arithmetic,
    usage_bytes, quantity, unit, unit_price, net, tax_rate, adjusts)
VALUES
    (11, 1, 'usage', '2026-10-01', '2026-11-01', 'Usage', '155.000002 GB x 0.50', 155000002000, 155.000002, 'GB', 0.50,
     77.51, 19, false),
    (11, 2, 'usage', '2026-09-01', '2026-10-01', 'Usage of September', '-0.000001 GB x 0.50', -1000, -0.000001, 'GB',
     0.50, -0.01, 19, true),
    (12, 1, 'usage', '2026-10-01', '2026-11-01', 'Usage', '80 GB x 0.5000125', 80000000000, 74.505805969238281250000000,
     'GiB', 0.5000125, 40.001, 0, false),
    (13, 1, 'plan', '2026-10-01', '2026-11-01', 'Plan', '9.90', NULL, 31, 'days', NULL, 9.90, 0, false);
"""
PLAN = "INSERT INTO public.plans (name, quota_type) VALUES ('home', 'monthly')"

# The fixed columns, first and in this order.
FIXED = {
    "invoices": "number,tenant,period_start,period_end,currency,usage_bytes,net,tax,gross,status",
    "router-days": "tenant,router,mac,day,bytes_in,bytes_out",
    "user-periods": "username,period_start,period_end,bytes_in,bytes_out",
}
WHAT = ("invoices", "lines", "credit-notes", "credit-note-lines", "router-days", "user-periods", "sessions")
FORMATS = ("csv", "jsonl", "parquet", "xlsx")


def fill(connection: Connection) -> None:
    """Make tenants, routers, counters and documents of October 2026."""
    change(connection, PLAN)
    change(connection, BILLED)


def change(connection: Connection, statements: str) -> None:
    """Change what nobody may change, such as an issued document."""
    connection.execute(
        f"SET session_replication_role = replica; {statements}; RESET session_replication_role".encode()
    )


def export(database: str, *options: str | Path, **environment: str) -> Result:
    """Export October 2026, unless the options name other days."""
    period = () if "--from" in options or "--period" in options else ("--period", "2026-10")
    return radmeter(database, "billing", "export", *period, *options, **environment)


def exported(database: str, what: str, form: str, file: Path, *options: str | Path) -> Path:
    """Export into a file, check it against its manifest, and return it."""
    done = export(database, "--what", what, "--format", form, "-o", file, *options)
    assert done.exit_code == 0, done.errors
    said = manifest(file)
    assert said["bytes"] == file.stat().st_size
    assert said["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not list(file.parent.glob("*.part"))
    return file


def manifest(file: Path) -> dict[str, Any]:
    """Return the manifest beside a file."""
    said: dict[str, Any] = json.loads(Path(f"{file}.manifest.json").read_text())
    return said


def read(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, read by a program that did not write it. Values are text, as in CSV; None: missing."""
    form = file.suffix[1:]
    if form == "xlsx":
        return _sheets(file)
    source = {
        "csv": "read_csv(?, all_varchar = true, header = true, nullstr = '', strict_mode = true)",
        "jsonl": "read_json(?, format = 'newline_delimited')",
        "parquet": "read_parquet(?)",
    }[form]
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM {source}", [str(file)])
        names = [column[0] for column in found.description or ()]
        kinds = [str(column[1]) for column in found.description or ()]
        if any("TIME ZONE" in kind for kind in kinds):
            chosen = ", ".join(
                f"strftime(timezone('UTC', \"{name}\"), '%Y-%m-%dT%H:%M:%S.%fZ') AS \"{name}\""
                if "TIME ZONE" in kind
                else f'"{name}"'
                for name, kind in zip(names, kinds, strict=True)
            )
            found = connection.execute(f"SELECT {chosen} FROM {source}", [str(file)])
        return [
            {name: _text(value) for name, value in zip(names, row, strict=True)} for row in found.fetchall()
        ]


def _sheets(file: Path) -> list[dict[str, Any]]:
    import openpyxl

    book = openpyxl.load_workbook(file, read_only=True)
    rows = []
    for sheet in book.worksheets:
        header, *lines = sheet.iter_rows()
        rows += [
            {str(name.value): _decoded(_shown(cell)) for name, cell in zip(header, line, strict=True)}
            for line in lines
        ]
    book.close()
    return rows


def _shown(cell: Any) -> str | None:
    """Return what a spreadsheet shows."""
    if isinstance(cell.value, datetime):
        assert cell.number_format == "yyyy-mm-dd"
        return cell.value.date().isoformat()
    if isinstance(cell.value, int | float) and cell.number_format.startswith("0"):
        decimals = len(cell.number_format.partition(".")[2])
        return f"{Decimal(repr(cell.value)):.{decimals}f}"
    return _text(cell.value)


def _decoded(text: str | None) -> str | None:
    """Return a cell's text: characters that XML has not are written as _x0001_ (ECMA-376, part 1, 22.9.2.19)."""
    return None if text is None else re.sub("_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), text)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
