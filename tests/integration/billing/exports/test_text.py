"""Names that somebody chose to do harm: they come back exactly from every format, and no spreadsheet runs them."""

import csv
import json
from pathlib import Path

import pytest
from support.exported import FORMATS, change, export, exported, fill, manifest, read
from support.servers import Connection

NAMES = (
    "=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "x;=1", "x,=1", "a\nb", "a\r\nb", "a\rb",
    'quo"te', '"', '""', ",", "\\", "\\.", "\\N", "\\n", "NULL", "null", " ", "x ", "\u001b[2J", "\u0001", "\u007f",
    "\u0085", "\u2028", "\u202e", "\ufeff", "Jürgen", "中文", "עברית", "😀", "'", "<b>&amp;</b>", "_x0041_", "{=1}",
    "1e5", "00123", "true", "2026-10-01", "12345678901234567890",
)  # fmt: skip


@pytest.fixture
def hostile(database: str, connection: Connection) -> str:
    fill(connection)
    connection.cursor().executemany(
        "INSERT INTO public.user_quota_usage VALUES (%s, '2026-10-02', 1, 2)", [(name,) for name in NAMES]
    )
    return database


@pytest.mark.parametrize("form", FORMATS)
def test_every_name_comes_back_exactly(hostile: str, tmp_path: Path, form: str) -> None:
    raw = ("--raw",) if form == "csv" else ()
    file = exported(hostile, "user-periods", form, tmp_path / f"x.{form}", "--from", "2026-10-02", "--to",
                    "2026-10-02", *raw)  # fmt: skip
    if form == "csv":
        # DuckDB takes several kinds of ends of lines for one.
        with file.open(newline="") as text:
            found = [row["username"] for row in csv.DictReader(text)]
    elif form == "jsonl":
        found = [json.loads(line)["username"] for line in file.read_text().split("\n") if line]
    else:
        found = [str(row["username"]) for row in read(file)]
    # By the bytes of UTF-8, as everywhere.
    expected = sorted(NAMES, key=lambda name: name.encode())
    assert found == expected


def test_a_spreadsheet_runs_none(hostile: str, tmp_path: Path) -> None:
    import openpyxl

    days = ("--from", "2026-10-02", "--to", "2026-10-02")
    book = openpyxl.load_workbook(exported(hostile, "user-periods", "xlsx", tmp_path / "x.xlsx", *days))
    sheet = book["user-periods"]
    assert {cell.data_type for row in sheet.iter_rows(min_row=2, max_col=1) for cell in row} == {"s"}
    prefixed = {
        cell.value for row in sheet.iter_rows(min_row=2, max_col=1) for cell in row if cell.quotePrefix
    }
    assert {"=1+1", "+1", "-1", "@A1"} <= prefixed
    text = exported(hostile, "user-periods", "csv", tmp_path / "x.csv", *days).read_text()
    assert "\n=" not in text
    assert "\n'=1+1," in text
    assert '\n"x,=1",' in text
    assert "\nx;'=1," in text
    assert "\x1b" not in text


def test_numbers_below_zero_are_not_touched(hostile: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute("UPDATE public.router_daily_usage SET bytes_in = -5 WHERE router_id = 1")
    text = exported(hostile, "router-days", "csv", tmp_path / "x.csv").read_text()
    assert ",2026-10-10,-5,5000000000," in text


def test_decimal_comma_delimiter_and_byte_order_mark(hostile: str, tmp_path: Path) -> None:
    file = exported(hostile, "lines", "csv", tmp_path / "x.csv", "--decimal-comma", "--bom")
    content = file.read_bytes()
    assert content.startswith(b"\xef\xbb\xbfnumber;tenant;")
    assert b";155000002000;155,000002;GB;0,5;EUR;77,51;19;;false\n" in content
    assert b";-1000;-0,000001;GB;0,5;EUR;-0,01;19;;true\n" in content
    assert manifest(file)["options"] == {"delimiter": ";", "decimal_comma": True, "bom": True, "raw": False}
    for given in ("tab", "\t"):
        content = exported(hostile, "invoices", "csv", file, "--delimiter", given).read_bytes()
        assert content.startswith(b"number\ttenant\tperiod_start\t")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--decimal-comma", "--delimiter", "comma"), "needs another delimiter"),
        (("-o", "x.jsonl", "--format", "jsonl", "--bom"), "go with --format csv"),
        (("-o", "x.xlsx", "--raw"), "go with --format csv"),
        (("--format", "xlsx"), "is named .csv, and --format is xlsx"),
        (("-o", "x.XLSX", "--format", "csv"), "is named .xlsx, and --format is csv"),
        (("--delimiter", "x"), "is not one of"),
        (("--from", "2026-10-01"), "give --period, or --from and --to"),
        (("--from", "2026-10-02", "--to", "2026-10-01"), "--to is before --from"),
        (("--period", "2026-10", "--to", "2026-11-01"), "are days of 2026-10"),
        (("--period", "9999-12"), "the year is from 0002 to 9998"),
        (("--period", "october"), "is not a month"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(hostile: str, tmp_path: Path, options: tuple[str, ...], why: str) -> None:
    period = () if "--from" in options or "--period" in options else ("--period", "2026-10")
    done = export(hostile, *period, "--what", "invoices", "-o", tmp_path / "x.csv", *options)
    assert done.exit_code == 2
    assert why in done.errors
    assert not list(tmp_path.iterdir())


def test_an_unknown_tenant_is_named_and_nothing_is_written(hostile: str, tmp_path: Path) -> None:
    done = export(hostile, "--what", "invoices", "--tenant", "ACME", "-o", tmp_path / "x.csv")
    assert done.exit_code == 1
    assert "there is no tenant 'ACME'" in done.errors
    assert not list(tmp_path.iterdir())


def test_a_tenants_rows_are_those_of_his_days(hostile: str, tmp_path: Path) -> None:
    for tenant, routers in (("acme", {("lobby", 15), ("bar", 31)}), ("kuwait", {("lobby", 16)})):
        rows = read(exported(hostile, "router-days", "csv", tmp_path / "x.csv", "--tenant", tenant))
        assert {row["tenant"] for row in rows} == {tenant}
        found = [row["router"] for row in rows]
        assert {(router, found.count(router)) for router in found} == routers
    rows = read(exported(hostile, "router-days", "csv", tmp_path / "x.csv"))
    assert len(rows) == 3 * 31
    assert {row["tenant"] for row in rows if row["router"] == "attic"} == {None}
    assert [row["number"] for row in read(exported(hostile, "invoices", "csv", tmp_path / "x.csv", "--tenant", "acme"))
            ] == ["2026-000001", None]  # fmt: skip
    rows = read(exported(hostile, "user-periods", "csv", tmp_path / "x.csv", "--tenant", "acme"))
    assert {row["username"] for row in rows} == {"alice"}


def test_a_month_that_is_not_closed_is_said(hostile: str, connection: Connection, tmp_path: Path) -> None:
    asked = ("--what", "router-days", "-o", tmp_path / "x.csv")
    assert export(hostile, *asked).errors == ""
    assert manifest(tmp_path / "x.csv")["closed"] is True
    change(connection, "DELETE FROM radmeter.billing_close WHERE tenant_id = 2")
    done = export(hostile, *asked, "--tenant", "kuwait")
    assert "2026-10" in done.errors
    assert "not closed" in done.errors
    assert manifest(tmp_path / "x.csv")["closed"] is False
    assert export(hostile, *asked, "--tenant", "acme").errors == ""
    done = export(hostile, *asked, "--from", "2026-09-15", "--to", "2026-11-15")
    assert "2026-09, 2026-11" in done.errors


def test_a_quota_period_ends_where_the_next_one_begins(
    hostile: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute("INSERT INTO public.user_quota_usage VALUES ('alice', '2026-10-20', 5, 6)")
    rows = read(exported(hostile, "user-periods", "csv", tmp_path / "x.csv", "--tenant", "acme"))
    assert [(row["period_start"], row["period_end"]) for row in rows] == [
        ("2026-10-01", "2026-10-20"), ("2026-10-20", "2026-11-01")]  # fmt: skip


@pytest.mark.parametrize("name", ["x.xlsx", "x.JSONL", "x.txt"])
def test_the_name_of_the_file_says_the_format(hostile: str, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    done = export(hostile, "--what", "invoices", "-o", file)
    assert done.exit_code == 0, done.errors
    form = {".xlsx": "xlsx", ".jsonl": "jsonl", ".txt": "csv"}[file.suffix.lower()]
    assert manifest(file)["format"] == form
    plain = exported(hostile, "invoices", form, tmp_path / f"y.{form}")
    assert file.read_bytes() == plain.read_bytes()
