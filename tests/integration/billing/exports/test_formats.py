"""`radmeter billing export`: every kind of rows in every format, read back by a program that did not write it."""

import csv
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.archives import sessions_of
from support.commands import radmeter
from support.exported import FIXED, FORMATS, WHAT, change, exported, fill, manifest, read
from support.servers import Connection

INVOICES = """\
number,tenant,period_start,period_end,currency,usage_bytes,net,tax,gross,status,username,issuer,issued_at,voided_at,\
credited,document_id
2026-000001,acme,2026-10-01,2026-11-01,EUR,155000001000,77.50,14.73,92.23,issued,,default,2026-11-03T08:00:00.5Z,,0.00,11
,acme,2026-10-01,2026-11-01,EUR,,9.90,0.00,9.90,issued,alice,,2026-11-03T00:00:00Z,,0.00,13
,kuwait,2026-10-01,2026-11-01,KWD,80000000000,40.001,0.000,40.001,draft,,default,,,0.000,12
"""
LINES = """\
number,tenant,username,status,document_id,line,kind,period_start,period_end,description,arithmetic,usage_bytes,quantity,\
unit,unit_price,currency,net,tax_rate,tax_rule,adjusts
2026-000001,acme,,issued,11,1,usage,2026-10-01,2026-11-01,Usage,155.000002 GB x 0.50,155000002000,155.000002,GB,0.5,\
EUR,77.51,19,,false
2026-000001,acme,,issued,11,2,usage,2026-09-01,2026-10-01,Usage of September,-0.000001 GB x 0.50,-1000,-0.000001,GB,\
0.5,EUR,-0.01,19,,true
,acme,alice,issued,13,1,plan,2026-10-01,2026-11-01,Plan,9.90,,31,days,,EUR,9.90,0,,false
,kuwait,,draft,12,1,usage,2026-10-01,2026-11-01,Usage,80 GB x 0.5000125,80000000000,74.50580596923828125,GiB,0.5000125,\
KWD,40.001,0,,false
"""
USER_PERIODS = """\
username,period_start,period_end,bytes_in,bytes_out,tenant,plan
alice,2026-10-01,2026-11-01,10,9007199254740993,acme,home
bob,2026-10-01,2026-11-01,7,8,,
"""
GOLDEN = {"invoices": INVOICES, "lines": LINES, "user-periods": USER_PERIODS}
# A Parquet file has a fixed number of digits in a column.
PADDED = ("net", "tax", "gross", "credited", "quantity", "unit_price", "tax_rate")


@pytest.fixture
def filled(database: str, connection: Connection) -> str:
    fill(connection)
    return database


def golden(what: str) -> list[dict[str, str | None]]:
    rows = csv.DictReader(GOLDEN[what].splitlines())
    return [{name: value or None for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("what", GOLDEN)
def test_the_text_of_a_csv_file_is_fixed(filled: str, tmp_path: Path, what: str) -> None:
    file = exported(filled, what, "csv", tmp_path / "x.csv", "--raw")
    assert file.read_text() == GOLDEN[what]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", GOLDEN)
def test_every_format_has_every_value_exactly(filled: str, tmp_path: Path, what: str, form: str) -> None:
    raw = ("--raw",) if form == "csv" else ()
    rows = read(exported(filled, what, form, tmp_path / f"x.{form}", *raw))
    expected = golden(what)
    if form == "parquet":
        for row in (*rows, *expected):
            for name in PADDED:
                if row.get(name) is not None:
                    row[name] = format(Decimal(str(row[name])).normalize(), "f")
    assert [_plain(row) for row in rows] == [_plain(row) for row in expected]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose times are written in one way, and whose text has no quotes of JSON around it."""
    plain = dict(row)
    for name in ("issued_at", "voided_at"):
        if plain.get(name):
            at = datetime.fromisoformat(str(plain[name]).rstrip("Z"))
            plain[name] = at.replace(tzinfo=UTC).isoformat()
    if str(plain.get("bytes_out")).startswith('"'):
        plain["bytes_out"] = str(plain["bytes_out"]).strip('"')
    return plain


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", WHAT)
def test_the_same_data_are_the_same_bytes(
    filled: str, connection: Connection, tmp_path: Path, what: str, form: str
) -> None:
    sessions_of(filled, connection, "2026-10", 8)
    first = exported(filled, what, form, tmp_path / f"one.{form}").read_bytes()
    # Rows that were written anew lie elsewhere in the table, and another transaction has passed.
    for table in ("router_daily_usage", "user_quota_usage", "radacct"):
        connection.execute(f"UPDATE public.{table} SET bytes_in = bytes_in".replace(
            "radacct SET bytes_in = bytes_in", "radacct SET realm = realm").encode())  # fmt: skip
    second = exported(filled, what, form, tmp_path / f"two.{form}").read_bytes()
    assert second == first
    said = [manifest(tmp_path / f"{name}.{form}") for name in ("one", "two")]
    assert said[0].pop("snapshot") != said[1].pop("snapshot")
    for each in said:
        del each["exported_at"], each["file"]
    assert said[0] == said[1]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", WHAT)
def test_nothing_is_a_file_with_its_columns(database: str, tmp_path: Path, what: str, form: str) -> None:
    file = exported(database, what, form, tmp_path / f"x.{form}")
    said = manifest(file)
    assert said["rows"] == 0
    if form == "parquet":
        assert pq.read_table(file).column_names == [column["name"] for column in said["columns"]]
    if form != "jsonl":
        assert read(file) == []
    else:
        assert file.read_bytes() == b""


@pytest.mark.parametrize("what", FIXED)
def test_the_fixed_columns_come_first(filled: str, tmp_path: Path, what: str) -> None:
    header = exported(filled, what, "csv", tmp_path / "x.csv").read_text().splitlines()[0]
    assert f"{header},".startswith(f"{FIXED[what]},")


def test_amounts_of_a_parquet_file_are_decimals_and_what_does_not_fit_is_text(
    filled: str, connection: Connection, tmp_path: Path
) -> None:
    types = {
        field.name: str(field.type)
        for field in pq.read_schema(exported(filled, "lines", "parquet", tmp_path / "x.parquet"))
    }
    assert types["net"] == "decimal128(20, 4)"
    assert types["usage_bytes"] == "int64"
    assert types["quantity"] == "decimal128(38, 30)"
    change(connection, "UPDATE public.invoice_lines SET quantity = 123456789012.5 WHERE invoice_id = 12")
    file = exported(filled, "lines", "parquet", tmp_path / "y.parquet")
    assert {row["quantity"] for row in read(file)} >= {"123456789012.5", "31"}


def test_a_spreadsheet_counts_with_what_it_can_hold(filled: str, tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.load_workbook(exported(filled, "user-periods", "xlsx", tmp_path / "x.xlsx"))
    sheet = book["user-periods"]
    assert sheet["D2"].value == 10
    # 2^53 + 1, which no double is.
    assert sheet["E2"].value == "9007199254740993"
    assert sheet["E3"].value == 8
    book = openpyxl.load_workbook(exported(filled, "invoices", "xlsx", tmp_path / "y.xlsx"))
    sheet = book["invoices"]
    assert (sheet["G2"].value, sheet["G2"].number_format) == (77.5, "0.00")
    assert sum(row[6].value for row in sheet.iter_rows(min_row=2)) == pytest.approx(127.401)
    assert {row[6].number_format for row in sheet.iter_rows(min_row=2)} == {"0.00", "0.000"}
    assert (sheet["C2"].value, sheet["C2"].number_format) == (datetime(2026, 10, 1), "yyyy-mm-dd")  # noqa: DTZ001 # as openpyxl has it
    assert sheet["M2"].value == "2026-11-03T08:00:00.5Z"
    assert sheet.auto_filter.ref == "A1:P4"
    # Beyond 15 digits a double is another number.
    file = exported(filled, "lines", "xlsx", tmp_path / "z.xlsx")
    assert "74.50580596923828125" in [
        row[12].value for row in openpyxl.load_workbook(file)["lines"].iter_rows()
    ]


def test_a_spreadsheet_says_no_time_of_today(filled: str, tmp_path: Path) -> None:
    file = exported(filled, "invoices", "xlsx", tmp_path / "x.xlsx")
    with zipfile.ZipFile(file) as parts:
        assert {part.date_time[0] for part in parts.infolist()} == {1980}
        assert b"2000-01-01T00:00:00Z" in parts.read("docProps/core.xml")


def test_the_manifest_says_what_the_file_has(filled: str, tmp_path: Path) -> None:
    file = exported(filled, "invoices", "csv", tmp_path / "x.csv")
    said = manifest(file)
    assert said["what"] == "invoices"
    assert (said["first_day"], said["last_day"], said["tenant"]) == ("2026-10-01", "2026-10-31", None)
    assert said["file"] == "x.csv"
    assert said["schema_version"] == 1
    assert said["closed"] is True
    assert said["rows"] == 3
    assert said["totals"] == {"usage_bytes": 235000001000}
    assert said["totals_by_currency"] == {
        "EUR": {
            "rows": 2,
            "usage_bytes": 155000001000,
            "net": "87.40",
            "tax": "14.73",
            "gross": "102.13",
            "credited": "0.00",
        },
        "KWD": {
            "rows": 1,
            "usage_bytes": 80000000000,
            "net": "40.001",
            "tax": "0.000",
            "gross": "40.001",
            "credited": "0.000",
        },
    }
    assert said["columns"][5] == {
        "name": "usage_bytes",
        "kind": "octets",
        "meaning": "of its lines, both directions, octets",
    }


def test_invoices_are_the_sums_of_their_exported_lines(filled: str, tmp_path: Path) -> None:
    """To the last digit of the currency, and to the octet."""
    lines = read(exported(filled, "lines", "jsonl", tmp_path / "lines.jsonl"))
    for invoice in read(exported(filled, "invoices", "jsonl", tmp_path / "invoices.jsonl")):
        own = [line for line in lines if line["document_id"] == invoice["document_id"]]
        assert sum(Decimal(line["net"]) for line in own) == Decimal(invoice["net"])
        assert sum(int(line["usage_bytes"] or 0) for line in own) == int(invoice["usage_bytes"] or 0)


def test_credit_notes_are_beside_their_invoice(filled: str, connection: Connection, tmp_path: Path) -> None:
    change(
        connection,
        """
        INSERT INTO public.credit_notes (invoice_id, issuer_id, number_year, sequence, number, currency, digits, net,
            tax, amount, taxes, reason, recipient, issuer, issued_at)
        SELECT 11, 1, 0, n, 'CN-' || n, 'EUR', 2, 10.00, 1.90, 11.90, '[]', 'outage', '{}', '{"name": "default"}',
               '2026-11-30 23:59:59.5Z'::timestamptz + (n - 1) * interval '1 second'
        FROM generate_series(1, 2) AS n""",
    )
    rows = read(exported(filled, "invoices", "csv", tmp_path / "x.csv"))
    assert [row["credited"] for row in rows] == ["23.80", "0.00", "0.000"]
    # By the day on which they were issued.
    november = ("--period", "2026-11")
    for form in FORMATS:
        (row,) = read(exported(filled, "credit-notes", form, tmp_path / f"x.{form}", *november))
        assert Decimal(str(row.pop("net"))) == 10
        assert Decimal(str(row.pop("tax"))) == Decimal("1.90")
        assert Decimal(str(row.pop("gross"))) == Decimal("11.90")
        assert {name: row[name] for name in ("number", "invoice", "tenant", "username", "issued", "reason")} == {
            "number": "CN-1", "invoice": "2026-000001", "tenant": "acme", "username": None, "issued": "2026-11-30",
            "reason": "outage",
        }  # fmt: skip
    assert manifest(tmp_path / "x.csv")["totals_by_currency"] == {
        "EUR": {"rows": 1, "net": "10.00", "tax": "1.90", "gross": "11.90"}
    }
    assert (
        read(exported(filled, "credit-notes", "csv", tmp_path / "x.csv", *november, "--tenant", "kuwait"))
        == []
    )


def test_lines_of_credit_notes(filled: str, connection: Connection, tmp_path: Path) -> None:
    """Each says which line of which invoice it gives back. They are of the day on which the note was issued (UTC)."""
    change(
        connection,
        """
        INSERT INTO public.credit_notes (id, invoice_id, issuer_id, number_year, sequence, number, currency, digits,
            net, tax, amount, taxes, reason, recipient, issuer, issued_at)
        VALUES (5, 11, 1, 0, 1, 'CN-1', 'EUR', 2, 10.00, 1.90, 11.90, '[]', 'outage', '{}', '{}',
                '2026-11-30 23:59:59.5Z'),
               (6, 11, 1, 0, 2, 'CN-2', 'EUR', 2, 1.00, 0.19, 1.19, '[]', 'more', '{}', '{}', '2026-12-01 00:00Z');
        INSERT INTO public.credit_note_lines (credit_note_id, line, invoice_line, description, net, tax_rate, tax_rule)
        VALUES (5, 1, 1, '=usage', 7.50, 19, 'VAT'), (5, 2, 2, 'fee', 2.50, 19, 'VAT'), (6, 1, 1, 'usage', 1, 19, 'VAT')
        """,
    )
    for form in FORMATS:
        rows = read(
            exported(filled, "credit-note-lines", form, tmp_path / f"x.{form}", "--period", "2026-11")
        )
        assert [(row["number"], row["invoice"], row["tenant"]) for row in rows] == [
            ("CN-1", "2026-000001", "acme")
        ] * 2
        assert [(int(row["line"]), int(row["invoice_line"]), Decimal(str(row["net"]))) for row in rows] == [
            (1, 1, Decimal("7.50")),
            (2, 2, Decimal("2.50")),
        ]
    # What the lines give back is what the notes give back.
    notes = manifest_of(filled, "credit-notes", tmp_path)
    lines = manifest_of(filled, "credit-note-lines", tmp_path)
    assert lines["totals_by_currency"]["EUR"] == {"rows": 2, "net": notes["totals_by_currency"]["EUR"]["net"]}


def manifest_of(filled: str, what: str, place: Path) -> dict[str, Any]:
    exported(filled, what, "csv", place / f"{what}.csv", "--period", "2026-11")
    return manifest(place / f"{what}.csv")


def test_documents_by_the_day_of_their_issue(filled: str, connection: Connection, tmp_path: Path) -> None:
    """The books of November have what was issued in it, whatever its period; a draft has no such day."""
    change(
        connection,
        """UPDATE public.invoices SET status = 'issued', number = 'I-' || id, issued_at = '2026-11-02 09:00Z';
           UPDATE public.invoices SET issued_at = '2026-10-31 23:59:59Z' WHERE id = 11;
           UPDATE public.invoices SET status = 'draft', number = NULL, issued_at = NULL WHERE id = 13""",
    )
    november = ("--period", "2026-11", "--by", "issue")
    rows = read(exported(filled, "invoices", "csv", tmp_path / "x.csv", *november))
    assert [(row["number"], row["period_start"]) for row in rows] == [("I-12", "2026-10-01")]
    assert "issued on these days (UTC)" in manifest(tmp_path / "x.csv")["rows_are"]
    lines = read(exported(filled, "lines", "csv", tmp_path / "y.csv", *november))
    assert {row["number"] for row in lines} <= {"I-12"}
    rows = read(
        exported(filled, "invoices", "csv", tmp_path / "x.csv", "--period", "2026-10", "--by", "issue")
    )
    assert [row["number"] for row in rows] == ["I-11"]
    for what, by in (("router-days", "issue"), ("sessions", "issue"), ("credit-notes", "period")):
        done = radmeter(
            filled, "billing", "export", "--what", what, "--by", by, "--period", "2026-11", "-o", "-"
        )
        assert done.exit_code == 2


def test_a_tenant_is_named_by_its_number_too(filled: str, connection: Connection, tmp_path: Path) -> None:
    (row,) = connection.execute("SELECT id FROM radmeter.tenants WHERE name = 'acme'").fetchall()
    files = [tmp_path / "name.csv", tmp_path / "number.csv"]
    for file, tenant in zip(files, ("acme", str(row[0])), strict=True):
        exported(filled, "invoices", "csv", file, "--tenant", tenant)
    assert files[0].read_bytes() == files[1].read_bytes()
