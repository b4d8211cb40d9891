"""`radmeter billing statement`: what a file shows is what the documents have, the same bytes each time."""

import csv
import html
import io
import re
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typst
from support import documents_of_money as money
from support import pdf
from support.commands import Result, radmeter
from support.servers import Connection

GB = 10**9
DAY = date(2026, 10, 17)
VAT = {"tax_rate": Decimal(20), "tax_rule": "VAT 20 %"}
HOSTILE = '#panic("x") $x$ `a` [b] <script>alert(1)</script> ]}\\u{41} "; #read("/etc/passwd")'


def statement(database: str, tenant: str, target: Path, *more: str) -> Result:
    return radmeter(
        database, "billing", "statement", "--period", "2026-10", "--tenant", tenant, "-o", target, *more
    )


def shown(path: Path) -> str:
    """Return the text of a file, without what lays it out."""
    if path.suffix == ".pdf":
        return " ".join(pdf.text_of(path).split())
    body = re.sub(r"(?s)<style>.*?</style>", "", path.read_text())
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def invoice(connection: Connection, tenant: str = "acme", **values: object) -> int:
    """Make a tenant with one router and an invoice of 3 GB for 1.50, and 20 % tax."""
    owner = money.tenant(connection, tenant, language=str(values.pop("language", "en")))
    router = money.router(connection, str(values.pop("router", f"lobby of {tenant[:20]}")), owner)
    lines = [
        money.line(
            "1.50",
            description="Usage, 2026-10",
            arithmetic="3 GB x 0.50 EUR",
            usage_bytes=3 * GB,
            quantity=Decimal(3),
            unit="GB",
            unit_price=Decimal("0.50"),
            **VAT,
        )
    ]
    used = {(router, DAY): (GB, 2 * GB)}
    return money.document(connection, owner, lines, used=used, **{"recipient": {"name": tenant}, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_it_shows_the_document(database: str, connection: Connection, tmp_path: Path, kind: str) -> None:
    invoice(
        connection,
        recipient={"legal_name": "Acme Ltd", "address": "1 Long Street\nSpringfield", "tax_id": "GB 1"},
        issuer={"legal_name": "Spots AG", "address": "Zürich"},
    )
    target = tmp_path / f"acme.{kind}"
    done = statement(database, "acme", target)
    assert done.exit_code == 0, done.errors
    assert done.output == f"acme: 2026-000001 (issued, 1.80 EUR): {target}\n"
    text = shown(target)
    for part in (
        "Invoice 2026-000001",
        "Acme Ltd",
        "1 Long Street",
        "Springfield",
        "GB 1",
        "Spots AG",
        "Zürich",
        "2026-10-01 to 2026-10-31, both",
        "3,000,000,000 octets",
        "1.50 EUR",
        "0.30 EUR",
        "1.80 EUR",
        "3 GB x 0.50 EUR",
        "VAT 20 %",
        "lobby",
        "1,000,000,000",
        "2,000,000,000",
        "1 GB = 1,000,000,000 octets",
        "half up",
    ):
        assert part in text
    assert "DRAFT" not in text
    assert "VOID" not in text


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_the_same_documents_give_the_same_bytes(
    database: str, connection: Connection, tmp_path: Path, kind: str
) -> None:
    invoice(connection)
    files = [tmp_path / f"{number}.{kind}" for number in range(2)]
    for file in files:
        assert statement(database, "acme", file).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_what_was_copied_into_a_document_stays(
    database: str, connection: Connection, tmp_path: Path, kind: str
) -> None:
    invoice(connection, recipient={"legal_name": "Acme Ltd"}, issuer={"legal_name": "Spots AG"})
    before, after = tmp_path / f"before.{kind}", tmp_path / f"after.{kind}"
    assert statement(database, "acme", before).exit_code == 0
    connection.execute(
        "UPDATE radmeter.tenants SET legal_name = 'Other', address = 'Elsewhere', tax_rate = 7, timezone = 'Asia/Tokyo'"
    )
    connection.execute("UPDATE radmeter.issuers SET legal_name = 'Another'")
    assert statement(database, "acme", after).exit_code == 0
    assert before.read_bytes() == after.read_bytes()


def test_the_pdf_is_for_archives_with_the_lines_attached(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    invoice(connection, "=1+1")
    connection.execute("ALTER TABLE invoice_lines DISABLE TRIGGER USER")
    connection.execute("UPDATE invoice_lines SET description = '=1+1'")
    target = tmp_path / "acme.pdf"
    assert statement(database, "=1+1", target).exit_code == 0
    about = pdf.metadata(target)
    assert re.search(r"pdfaid:part\W+3\b", about)
    assert re.search(r"pdfaid:conformance\W+B\b", about)
    assert "2026-11-02" in about
    assert pdf.relationship(target) == ["/Data"]
    (row,) = csv.DictReader(io.StringIO(pdf.attached(target)["lines.csv"].decode()))
    assert row["description"] == "'=1+1"
    assert (row["number"], row["quantity"], row["unit_price"], row["net"]) == (
        "2026-000001",
        "3",
        "0.50",
        "1.50",
    )
    assert all("yes" in line.split() for line in pdf.fonts_of(target))


def test_totals_are_the_sums_of_the_lines(database: str, connection: Connection, tmp_path: Path) -> None:
    """To the unit: no file shows a total that its parts do not have."""
    made = invoice(connection)
    connection.execute(
        "ALTER TABLE invoice_lines DISABLE TRIGGER USER; ALTER TABLE invoice_usage DISABLE TRIGGER USER"
    )
    connection.execute("UPDATE invoice_lines SET net = 1.49")
    done = statement(database, "acme", tmp_path / "acme.html")
    assert done.exit_code == 1
    assert "document 2026-000001 does not add up: net is 1.50, its parts have 1.49" in done.errors
    connection.execute(
        "UPDATE invoice_lines SET net = 1.50; UPDATE invoice_usage SET bytes_in = bytes_in + 1"
    )
    done = statement(database, "acme", tmp_path / "acme.html")
    assert "usage_bytes is 3000000000, its parts have 3000000001" in done.errors
    assert list(tmp_path.iterdir()) == []
    assert made == 1


@pytest.mark.parametrize(
    ("status", "mark"),
    [("draft", "DRAFT: this is not an invoice"), ("void", "VOID: this invoice was cancelled on 2026-11-02")],
)
@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_a_draft_and_a_void_document_are_marked(
    database: str, connection: Connection, tmp_path: Path, status: str, mark: str, kind: str
) -> None:
    invoice(connection, status=status)
    target = tmp_path / f"acme.{kind}"
    assert statement(database, "acme", target).exit_code == 0
    text = shown(target)
    assert mark in text
    if status == "void":
        for part in ("Credited", "-1.80 EUR", "Open amount 0.00 EUR", "wrong address", "cancels the invoice"):
            assert part in text


def test_credit_notes_and_what_is_open(database: str, connection: Connection, tmp_path: Path) -> None:
    made = invoice(connection)
    money.credit(connection, made, reason="goodwill", number=1, net="0.25")
    money.credit(connection, made, reason="again", number=2, net="0.05")
    target = tmp_path / "acme.pdf"
    assert statement(database, "acme", target).exit_code == 0
    text = shown(target)
    for part in ("Credited -0.30 EUR", "Open amount 1.50 EUR", "CN-2026-1", "goodwill", "CN-2026-2"):
        assert part in text


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_octets_of_earlier_months_are_told_apart(
    database: str, connection: Connection, tmp_path: Path, kind: str
) -> None:
    acme = money.tenant(connection, "acme")
    router = money.router(connection, "lobby", acme)
    september = {"period_start": date(2026, 9, 1), "period_end": date(2026, 10, 1), "adjusts": True}
    used = {(router, DAY): (1, 1), (router, date(2026, 9, 29)): (-7, 0), (router, date(2026, 9, 30)): (0, 2)}
    lines = [
        money.line("1.00", usage_bytes=2, quantity=Decimal("0.000000002"), unit="GB"),
        money.line("-3.00", usage_bytes=-5, quantity=Decimal("-0.000000005"), unit="GB", **september),
    ]
    money.document(connection, acme, lines, used=used)
    target = tmp_path / f"acme.{kind}"
    assert statement(database, "acme", target).exit_code == 0
    text = shown(target)
    for part in (
        "2026-09-01 – 2026-09-30 (for 2026-09, which was closed before)",
        "-0.000000005 GB",
        "0.000000002 GB",
        "-5 octets are of earlier months",
        "In your favour -2.00 EUR",
        "Usage -3 octets",
        "2026-09 2 -7 2 -5",
        "2026-10 1 1 1 2",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("currency", "digits", "net", "total", "german"),
    [
        ("JPY", 0, "1234567", "1,481,480 JPY", "1.481.480 JPY"),
        ("KWD", 3, "1234.567", "1,481.480 KWD", "1.481,480 KWD"),
        ("CLF", 4, "0.0001", "0.0001 CLF", "0,0001 CLF"),
    ],
)
def test_an_amount_has_the_digits_of_its_currency(
    database: str,
    connection: Connection,
    tmp_path: Path,
    currency: str,
    digits: int,
    net: str,
    total: str,
    german: str,
) -> None:
    for name, language in (("acme", "en"), ("bcme", "de")):
        owner = money.tenant(connection, name, currency=currency, digits=digits, language=language)
        number = 1 if name == "acme" else 2
        money.document(
            connection, owner, [money.line(net, **VAT)], currency=currency, digits=digits, number=number
        )
    for name, expected in (("acme", f"Total {total}"), ("bcme", f"Gesamtbetrag {german}")):
        target = tmp_path / f"{name}.html"
        assert statement(database, name, target).exit_code == 0
        assert expected in shown(target)


def test_languages(database: str, connection: Connection, tmp_path: Path) -> None:
    invoice(connection, "acme", language="de-AT")
    done = statement(database, "acme", tmp_path / "acme.pdf")
    assert done.errors == ""
    text = shown(tmp_path / "acme.pdf")
    for part in (
        "Rechnung 2026-000001",
        "2026-10-01 bis 2026-10-31",
        "3.000.000.000 Oktette",
        "1,50 EUR",
        "kaufmännisch",
    ):
        assert part in text
    invoice(connection, "bcme", language="tlh", number=2)
    done = statement(database, "bcme", tmp_path / "bcme.html")
    assert done.exit_code == 0
    assert "not written in 'tlh', the language of tenant 'bcme': this one is in English" in done.errors
    assert "Invoice 2026-000002" in shown(tmp_path / "bcme.html")


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_a_hostile_name_is_only_text(
    database: str, connection: Connection, tmp_path: Path, kind: str
) -> None:
    invoice(
        connection,
        HOSTILE,
        router=HOSTILE,
        recipient={"legal_name": HOSTILE, "address": HOSTILE + "\n\x1b[31m\u202ered"},
        issuer={"legal_name": HOSTILE},
    )
    target = tmp_path / f"acme.{kind}"
    done = statement(database, HOSTILE, target)
    assert done.exit_code == 0, done.errors
    text = shown(target)
    assert '#panic("x") $x$ `a` [b] <script>' in text.replace("\u200b", "") or kind == "html"
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "root:" not in text
    if kind == "html":
        assert "<script" not in target.read_text()
        assert "&lt;script&gt;alert(1)" in target.read_text()


def test_the_page_loads_and_runs_nothing(database: str, connection: Connection, tmp_path: Path) -> None:
    invoice(connection)
    target = tmp_path / "acme.html"
    assert statement(database, "acme", target).exit_code == 0
    page = target.read_text()
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(
        r"<(script|link|img|iframe|object)\b|\bstyle=|\bon\w+=|https?://(?!www\.w3\.org/2000/svg)", page
    )
    # The chart is well formed: a bar for each direction of the one day with usage, twice as high for twice as much.
    (svg,) = re.findall(r"(?s)<svg.*</svg>", page)
    bars = [
        each
        for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")
        if each.get("y") != "80"  # the legend
    ]
    heights = [int(each.get("height", "0")) for each in bars]
    assert len(heights) == 2
    assert abs(heights[1] - 2 * heights[0]) <= 2


def test_a_thousand_routers_over_many_pages(database: str, connection: Connection, tmp_path: Path) -> None:
    acme = money.tenant(connection, "acme")
    routers = [money.router(connection, f"router {number:04}", acme) for number in range(1000)]
    used = money.month_of_usage(routers, days=2)
    total = sum(map(sum, used.values()))
    money.document(connection, acme, [money.line("1.00", usage_bytes=total)], used=used)
    target = tmp_path / "acme.pdf"
    assert statement(database, "acme", target).exit_code == 0
    pages = pdf.pages_of(target)
    assert pages > 10
    text = [" ".join(pdf.text_of(target, page).split()) for page in range(1, pages + 1)]
    assert all("Octets in Octets out Octets" in page for page in text[1:-1])
    assert all(f"Page {number} of {pages}" in page for number, page in enumerate(text, 1))
    whole = " ".join(text)
    assert all(f"router {number:04} " in whole for number in range(1000))
    assert f"{total:,}" in text[-1]


def test_a_letter_that_no_font_has(database: str, connection: Connection, tmp_path: Path) -> None:
    """A box in the place of a name is no bill: the packages of the fonts are named. HTML needs no font here."""
    if {"Noto Sans EgyptHiero", "Noto Sans Egyptian Hieroglyphs"} & set(
        typst.Fonts(include_system_fonts=True).families()
    ):
        pytest.skip("this machine has the font")
    invoice(connection, recipient={"legal_name": "𓀀𓀁 𐎀"})
    done = statement(database, "acme", tmp_path / "acme.pdf")
    assert done.exit_code == 1
    assert "no font on this machine has the letters of" in done.errors
    assert "(Egyptian, Ugaritic): `apt-get install fonts-noto-core`, or write HTML" in done.errors
    assert list(tmp_path.iterdir()) == []
    assert statement(database, "acme", tmp_path / "acme.html").exit_code == 0
    assert "𓀀𓀁 𐎀" in shown(tmp_path / "acme.html")


def test_letters_of_fonts_that_are_there(database: str, connection: Connection, tmp_path: Path) -> None:
    invoice(connection, recipient={"legal_name": "Żółć Ελλάς Привет Ağaç"})
    assert statement(database, "acme", tmp_path / "acme.pdf").exit_code == 0
    assert "Żółć Ελλάς Привет Ağaç" in shown(tmp_path / "acme.pdf")


def test_a_symbol_that_no_font_has_is_written_out(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    invoice(connection, recipient={"legal_name": "Cafe \U0001fae8"})
    done = statement(database, "acme", tmp_path / "acme.pdf")
    assert done.exit_code == 0
    assert (
        "note: no font on this machine has U+1FAE8: the statement of 'acme' has the numbers instead"
        in done.errors
    )
    assert "Cafe U+1FAE8" in shown(tmp_path / "acme.pdf")


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_all_tenants_into_a_directory(
    database: str, connection: Connection, tmp_path: Path, kind: str
) -> None:
    names = ["acme", "../../etc/x", "a" * 300, "Ünïcode 漢字" if kind == "html" else "Ünïcode", ".hidden"]
    for number, name in enumerate(names, 1):
        invoice(connection, name, number=number, recipient={"name": name[:20]})
    money.tenant(connection, "without documents")
    into = tmp_path / "new" / "statements"
    done = radmeter(
        database, "billing", "statement", "--period", "2026-10", "--all", "--format", kind, "-o", into
    )
    assert done.exit_code == 0, done.errors
    assert done.output == f"5 statements in {into}\n"
    files = sorted(path.name for path in into.iterdir())
    assert len(files) == 5
    assert all(name.startswith("2026-10-") and name.endswith(f".{kind}") for name in files)
    assert f"2026-10-acme-1.{kind}" in files
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_one_faulty_document_does_not_stop_the_others(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    for number, name in enumerate(("acme", "bcme", "ccme", "dcme"), 1):
        made = invoice(connection, name, number=number)
        if name == "dcme":
            connection.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
            connection.execute('UPDATE invoices SET taxes = \'[{"tax": "much"}]\' WHERE id = %s', (made,))
        if name == "bcme":
            connection.execute("ALTER TABLE invoice_lines DISABLE TRIGGER USER")
            connection.execute("UPDATE invoice_lines SET net = 9 WHERE invoice_id = %s", (made,))
    done = radmeter(
        database, "billing", "statement", "--period", "2026-10", "--all", "--format", "html", "-o", tmp_path
    )
    assert done.exit_code == 1
    assert done.output == f"2 statements in {tmp_path}\n"
    assert "2 statements could not be written:" in done.errors
    assert "document 2026-000002 does not add up" in done.errors
    assert "the documents of tenant 'dcme' have a value that cannot be shown" in done.errors
    assert "Traceback" not in done.errors
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_an_odd_number_of_octets_at_a_price_per_gib(
    database: str, connection: Connection, tmp_path: Path, kind: str
) -> None:
    """Its quantity has 30 decimals."""
    owner = money.tenant(connection, "acme")
    router = money.router(connection, "lobby", owner)
    quantity = Decimal("4.656612873077392578125931322574615478")
    lines = [
        money.line(
            "1.40", usage_bytes=5_000_000_001, quantity=quantity, unit="GiB", unit_price=Decimal("0.3")
        )
    ]
    money.document(connection, owner, lines, used={(router, DAY): (5_000_000_000, 1)})
    done = radmeter(
        database, "billing", "statement", "--period", "2026-10", "--all", "--format", kind, "-o", tmp_path
    )
    assert done.exit_code == 0, done.errors
    (file,) = tmp_path.iterdir()
    if kind == "html":  # the PDF wraps it
        assert f"{quantity} GiB" in shown(file)


def test_what_is_not_there(database: str, connection: Connection, tmp_path: Path) -> None:
    invoice(connection)
    done = statement(database, "acne", tmp_path / "x.pdf")
    assert "there is no tenant 'acne': `radmeter tenants list` lists them" in done.errors
    money.tenant(connection, "empty")
    done = statement(database, "empty", tmp_path / "x.pdf")
    assert (
        "tenant 'empty' has no documents of 2026-10: `radmeter billing close 2026-10` makes them"
        in done.errors
    )
    done = statement(database, "acme", tmp_path / "no dir" / "x.pdf")
    assert done.errors == (
        f"error: there is no directory '{tmp_path / 'no dir'}': make it with `mkdir -p '{tmp_path / 'no dir'}'`\n"
    )
    done = radmeter(database, "billing", "statement", "--period", "2026-09", "--all", "-o", tmp_path / "all")
    assert "there are no documents of 2026-09" in done.errors
    assert list(tmp_path.iterdir()) == []
    for arguments in (
        ["--tenant", "acme", "-o", "x.txt"],
        ["-o", "x.pdf"],
        ["--all", "--tenant", "acme", "-o", "x"],
        ["--tenant", "acme", "--format", "html", "-o", "x.pdf"],
    ):
        assert radmeter(database, "billing", "statement", "--period", "2026-10", *arguments).exit_code == 2


def test_a_file_is_there_whole_or_not_at_all(database: str, connection: Connection, small_disk: Path) -> None:
    """A full disk leaves the file that was there, and nothing else."""
    invoice(connection)
    target = small_disk / "acme.pdf"
    target.write_text("before")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    done = statement(database, "acme", target)
    assert done.exit_code == 1
    assert "No space left on device" in done.errors
    assert target.read_text() == "before"
    assert sorted(path.name for path in small_disk.iterdir() if path.name != "lost+found") == [
        "acme.pdf",
        "filler",
    ]


@pytest.mark.parametrize(
    ("rounding", "tax", "notes"),
    [
        (
            "half-up",
            "sum",
            (
                "The net amount of each line is rounded once, half up, to 2 digits of EUR.",
                "The tax of each rate is taken of the sum of its lines, and rounded once.",
            ),
        ),
        (
            "half-even",
            "line",
            (
                "The net amount of each line is rounded once, half to even, to 2 digits of EUR.",
                "The tax is taken of each line and rounded, then added up.",
            ),
        ),
    ],
)
def test_units_and_rounding_are_stated(
    database: str, connection: Connection, tmp_path: Path, rounding: str, tax: str, notes: tuple[str, ...]
) -> None:
    """As they were when the document was made, whatever the settings are now."""
    acme = money.tenant(connection, "acme")
    lines = [money.line("1.00", usage_bytes=0, quantity=Decimal("0.5"), unit="GiB", **VAT)]
    money.document(connection, acme, lines, terms={"rounding": rounding, "tax": tax})
    target = tmp_path / "acme.pdf"
    assert statement(database, "acme", target).exit_code == 0
    text = shown(target)
    for note in (*notes, "0.5 GiB", "1 GiB = 1,073,741,824 octets.", "Volumes and prices are not rounded."):
        assert note in text


def test_credit_notes_are_listed_and_shown(database: str, connection: Connection) -> None:
    made = invoice(connection)
    money.credit(connection, made, reason="outage", number=1, net="0.50")
    for month, names in (("2026-11", ["CN-2026-1"]), ("2026-10", [])):
        listed = radmeter(
            database, "billing", "list", "--credit-notes", "--period", month, "--format", "json"
        ).json()
        assert [note["number"] for note in listed] == names
    (note,) = radmeter(
        database, "billing", "list", "--credit-notes", "--tenant", "acme", "--format", "csv"
    ).csv()
    assert {name: note[name] for name in ("invoice", "tenant", "issued", "currency", "net", "tax", "reason")} == {
        "invoice": "2026-000001", "tenant": "acme", "issued": "2026-11-02", "currency": "EUR", "net": "0.50",
        "tax": "0", "reason": "outage",
    }  # fmt: skip
    shown = radmeter(database, "billing", "show", "CN-2026-1")
    assert shown.exit_code == 0, shown.errors
    for part in ("CN-2026-1, credit note of 2026-000001, for acme", "reason: outage", "net 0.50 EUR"):
        assert part in shown.output
    assert (
        radmeter(database, "billing", "show", "CN-2026-1", "--format", "json").json()["invoice"]
        == "2026-000001"
    )
    assert "there is no invoice 'CN-2026-2'" in radmeter(database, "billing", "show", "CN-2026-2").errors
    assert radmeter(database, "billing", "list", "--credit-notes", "--status", "void").exit_code == 2


@pytest.mark.parametrize(("language", "words"), [("en", "Time zone"), ("de", "Zeitzone")])
def test_days_are_of_the_zones_of_the_routers_and_a_discovered_one_has_the_name_that_it_sends(
    database: str, connection: Connection, tmp_path: Path, language: str, words: str
) -> None:
    """The zone of the tenant says only when a month can be closed."""
    terms = {"rounding": "half-up", "tax": "sum", "timezone": "Europe/Berlin"}
    made = invoice(connection, language=language, terms=terms)
    connection.execute(
        """INSERT INTO routers (id, name, status, mac, nas_identifier, timezone)
           VALUES (77, '02:00:00:00:00:01', 'discovered', '02:00:00:00:00:01', 'pool bar', 'Asia/Tokyo')"""
    )
    connection.execute("ALTER TABLE invoice_usage DISABLE TRIGGER USER")
    connection.execute(
        """INSERT INTO invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
           VALUES (%s, 77, '2026-10-02', 0, 0)""",
        (made,),
    )
    target = tmp_path / "acme.html"
    done = statement(database, "acme", target)
    assert done.exit_code == 0, done.errors
    text = shown(target)
    assert f"{words} Asia/Tokyo, UTC" in text
    assert "Europe/Berlin" not in text
    assert "pool bar 02:00:00:00:00:01 2026-10" in text
    assert "byte" not in text.lower()
    sums = {"en": "Sum 1,000,000,000 2,000,000,000", "de": "Summe 1.000.000.000 2.000.000.000"}
    assert sums[language] in text
