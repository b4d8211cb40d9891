"""`radmeter tenants` and `radmeter billing issuers`: what a tenant has, what its usage costs, and what is refused."""

import psycopg
import pytest
from support.commands import radmeter, refused, run
from support.servers import Connection


def document(connection: Connection, tenant: str, month: str = "2026-01-01") -> None:
    """Write what a closed month of a tenant leaves, issued."""
    connection.execute(
        """WITH closed AS (
               INSERT INTO radmeter.billing_close (period, tenant_id)
               SELECT %(month)s, id FROM radmeter.tenants WHERE name = %(tenant)s RETURNING id, tenant_id)
           INSERT INTO invoices (tenant_id, close_id, status, issuer_id, number_year, sequence, number, issued_at,
                                 period_start, period_end, currency, digits, net, tax, amount, usage_bytes)
           SELECT tenant_id, id, 'issued', 1, 0, id, 'T-' || id, now(), %(month)s, %(month)s::date + 28, 'EUR', 2, 5,
                  1, 6, 0
           FROM closed""",
        {"month": month, "tenant": tenant},
    )


@pytest.mark.parametrize(
    ("currency", "digits"), [("EUR", 2), ("jpy", 0), ("KWD", 3), ("CLF", 4)], ids=lambda each: str(each)
)
def test_a_tenant_has_a_currency_with_the_digits_of_the_standard(
    database: str, connection: Connection, currency: str, digits: int
) -> None:
    said = run(database, "tenants", "add", "acme", "--currency", currency, "--timezone", "UTC")
    assert f"'acme': {currency.upper()}, {digits} digit" in said
    assert connection.execute(
        "SELECT currency, digits, timezone, tax_rate, language, issuer_id FROM radmeter.tenants"
    ).fetchall() == [(currency.upper(), digits, "UTC", 0, "en", 1)]


@pytest.mark.parametrize("currency", ["XAU", "XTS", "EURO", "ABC", ""])
def test_what_is_no_currency_in_which_can_be_billed_is_refused(
    database: str, connection: Connection, currency: str
) -> None:
    assert "urrenc" in refused(database, "tenants", "add", "acme", "--currency", currency)
    assert connection.execute("SELECT count(*) FROM radmeter.tenants").fetchone() == (0,)


def test_every_option_is_a_value_of_the_tenant_and_the_audit_log_has_the_change(
    database: str, connection: Connection
) -> None:
    run(database, "billing", "issuers", "add", "south", "--number-format", "S-{year}-{number:05}")
    run(
        database, "tenants", "add", "acme", "--currency", "EUR", "--timezone", "Asia/Tokyo", "--legal-name", "Acme Ltd",
        "--address", "1 Main St\nTown", "--email", "a@example.org", "--tax-id", "DE1", "--tax-rate", "19",
        "--tax-rule", "standard rate", "--language", "de", "--issuer", "south", "--note", "the first",
    )  # fmt: skip
    shown = radmeter(database, "tenants", "show", "acme", "--format", "json").json()
    assert {
        name: shown[name]
        for name in ("name", "currency", "timezone", "legal_name", "address", "email", "tax_id", "tax_rate")
    } == {
        "name": "acme", "currency": "EUR", "timezone": "Asia/Tokyo", "legal_name": "Acme Ltd",
        "address": "1 Main St\nTown", "email": "a@example.org", "tax_id": "DE1", "tax_rate": 19,
    }  # fmt: skip
    assert [shown[name] for name in ("tax_rule", "language", "issuer", "note")] == [
        "standard rate", "de", "south", "the first",
    ]  # fmt: skip
    run(database, "tenants", "set", "acme", "--tax-rate", "7.7", "--address", "none", "--name", "acme 2")
    assert radmeter(database, "tenants", "set", "acme 2", "--tax-rate", "7.7").output == (
        "tenant 'acme 2' is as before\n"
    )
    lines = connection.execute("SELECT action, detail FROM audit_log ORDER BY id").fetchall()
    assert [action for action, _ in lines] == ["billing issuers add", "tenants add", "tenants set"]
    before, after = lines[-1][1]["before"], lines[-1][1]["after"]
    assert {key: (before[key], after[key]) for key in before if before[key] != after[key]} == {
        "tax_rate": (19, 7.7), "address": ("1 Main St\nTown", None), "name": ("acme", "acme 2"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "7", "--currency", "EUR"), "take that for a number"),
        (("add", "none", "--currency", "EUR"), "take that for a number, or for no tenant"),
        (("add", " x", "--currency", "EUR"), "no blanks at its ends"),
        (("add", "acme", "--currency", "EUR"), 'there is a tenant "acme" already: "radmeter tenants set" changes it'),
        (("add", "b", "--currency", "EUR", "--timezone", "Mars"), 'there is no time zone "Mars"'),
        (("add", "b", "--currency", "EUR", "--tax-rate", "101"), "from 0 to 100 percent"),
        (("add", "b", "--currency", "EUR", "--tax-rate", "-1"), "--tax-rate: '-1' is not a rate in percent"),
        (("add", "b", "--currency", "EUR", "--language", "Deutsch!"), "a language is a code such as en"),
        (("add", "b", "--currency", "EUR", "--issuer", "north"), 'there is no issuer "north": "radmeter billing'),
        (("set", "who", "--currency", "EUR"), "there is no tenant 'who': `radmeter tenants list` lists them"),
        (("set", "other", "--name", "acme"), 'there is a tenant "acme" already: give another name'),
        (("set", "acme"), "give at least one value"),
        (("show", "who"), "there is no tenant 'who'"),
        (("rates", "who"), "there is no tenant 'who'"),
        (("retire", "who"), "there is no tenant 'who'"),
    ],
)  # fmt: skip
def test_what_is_no_tenant_is_refused_with_the_remedy(
    database: str, arguments: tuple[str, ...], said: str
) -> None:
    for name in ("acme", "other"):
        run(database, "tenants", "add", name, "--currency", "EUR")
    assert said in refused(database, "tenants", *arguments)


def test_a_tenant_of_before_is_named_and_gets_its_currency_by_its_number(
    database: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO radmeter.tenants (id, name, timezone, issuer_id) VALUES (7, 'tenant 7', 'UTC', 1)"
    )
    assert "has no currency yet" in refused(
        database, "tenants", "rate", "7", "--from", "2026-01-01", "--per-gb", "1"
    )
    run(database, "tenants", "set", "7", "--currency", "EUR", "--name", "acme")
    run(database, "tenants", "rate", "7", "--from", "2026-01-01", "--per-gb", "1")
    assert connection.execute("SELECT name, currency, digits FROM radmeter.tenants").fetchall() == [
        ("acme", "EUR", 2)
    ]


def test_the_currency_stays_once_there_are_documents_in_it(database: str, connection: Connection) -> None:
    run(database, "tenants", "add", "acme", "--currency", "EUR")
    run(database, "tenants", "set", "acme", "--currency", "KWD")
    run(database, "tenants", "set", "acme", "--currency", "EUR")
    document(connection, "acme")
    assert 'the tenant "acme" has documents in EUR: add another tenant' in refused(
        database, "tenants", "set", "acme", "--currency", "KWD"
    )
    run(database, "tenants", "set", "acme", "--currency", "EUR", "--note", "same")
    with pytest.raises(psycopg.Error):
        connection.execute("DELETE FROM radmeter.tenants")


def test_a_rate_holds_until_the_next_one_and_the_same_day_again_replaces_it(
    database: str, connection: Connection
) -> None:
    run(database, "tenants", "add", "acme", "--currency", "EUR", "--timezone", "UTC")
    said = run(database, "tenants", "rate", "acme", "--from", "2026-01-01", "--per-gb", "0.50")
    assert (
        said == "usage of tenant 'acme' costs, from 2026-01-01 on: 0.5 per GB (10^9 bytes, both directions)\n"
    )
    run(
        database, "tenants", "rate", "acme", "--from", "2026-07-01", "--per-gib", "0.12345678", "--tier", "100:0.4",
        "--tier", "1000:0.30", "--tiers", "volume", "--included", "10", "--minimum", "5", "--maximum", "5000",
        "--share", "30", "--base-fee", "2.50", "--tax-rate", "19", "--tax-rule", "standard",
    )  # fmt: skip
    assert connection.execute("SELECT from_day::text, terms FROM radmeter.tenant_rates ORDER BY 1").fetchall() == [
        ("2026-01-01", {"unit": "GB", "price": "0.5"}),
        (
            "2026-07-01",
            {
                "unit": "GiB", "price": "0.12345678", "tier_mode": "volume", "included": "10", "minimum": "5",
                "tiers": [{"from": "100", "price": "0.4"}, {"from": "1000", "price": "0.3"}], "maximum": "5000",
                "share": "30", "base_fee": "2.5", "tax_rate": "19", "tax_rule": "standard",
            },
        ),
    ]  # fmt: skip
    assert radmeter(
        database, "tenants", "rate", "acme", "--from", "2026-01-01", "--per-gb", "0.5"
    ).output == ("tenant 'acme' has this rate from 2026-01-01 on already\n")
    said = run(database, "tenants", "rate", "acme", "--from", "2026-01-01", "--per-gb", "0.6")
    assert said.endswith(", until the rate of 2026-07-01\n")
    rows = radmeter(database, "tenants", "rates", "acme", "--format", "json").json()
    assert [(row["from_day"], row["until_day"], row["price"]) for row in rows] == [
        ("2026-01-01", "2026-07-01", "0.6"),
        ("2026-07-01", None, "0.12345678"),
    ]
    assert radmeter(database, "tenants", "rates", "acme", "--format", "csv").csv()[1]["tiers"] == (
        "100:0.4 1000:0.3"
    )
    run(database, "tenants", "rate", "acme", "--from", "2026-07-01", "--remove")
    assert len(radmeter(database, "tenants", "rates", "acme", "--format", "json").json()) == 1
    assert "has no rate from 2026-07-01 on" in refused(
        database, "tenants", "rate", "acme", "--from", "2026-07-01", "--remove"
    )
    assert connection.execute("SELECT count(*) FROM audit_log WHERE action = 'tenants rate'").fetchone() == (
        4,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--per-gb", "1,5"), "'1,5' is not an amount"),
        (("--per-gb", "-1"), "'-1' is not an amount"),
        (("--per-gb", "1", "--per-gib", "1"), "give one of the two prices"),
        (("--tier", "100:1"), "nothing says what the first 100 GB cost"),
        (("--per-gb", "1", "--tier", "100"), "write FROM:PRICE"),
        (("--per-gb", "1", "--share", "101"), "more than 100 percent"),
        (("--per-gb", "1", "--minimum", "6", "--maximum", "5"), "is more than the maximum"),
        ((), "give a price"),
        (("--per-gb", "1", "--remove"), "give a price, such as --per-gb 0.50, or --remove"),
        (("--per-gb", "1", "--from", "1999-12-31"), "between 2000-01-01 and 2100-01-01"),
    ],
)
def test_what_is_no_rate_is_refused(
    database: str, connection: Connection, options: tuple[str, ...], said: str
) -> None:
    run(database, "tenants", "add", "acme", "--currency", "EUR")
    assert said in refused(database, "tenants", "rate", "acme", "--from", "2026-01-01", *options)
    assert connection.execute("SELECT count(*) FROM radmeter.tenant_rates").fetchone() == (0,)


def test_a_rate_for_a_closed_month_changes_no_document_and_says_what_it_is_for(
    database: str, connection: Connection
) -> None:
    run(database, "tenants", "add", "acme", "--currency", "EUR")
    run(database, "tenants", "rate", "acme", "--from", "2026-01-01", "--per-gb", "0.50")
    document(connection, "acme", "2026-01-01")
    document(connection, "acme", "2026-02-01")
    before = connection.execute("SELECT i FROM invoices AS i ORDER BY id").fetchall()
    done = radmeter(database, "tenants", "rate", "acme", "--from", "2026-02-15", "--per-gb", "0.60")
    assert (
        "1 closed month, from 2026-02 on, had another rate: their documents stay as they are" in done.errors
    )
    done = radmeter(database, "tenants", "rate", "acme", "--from", "2026-01-01", "--per-gb", "0.40")
    assert "2 closed months, from 2026-01 on" in done.errors
    done = radmeter(database, "tenants", "rate", "acme", "--from", "2026-03-01", "--per-gb", "0.70")
    assert done.errors == ""
    assert connection.execute("SELECT i FROM invoices AS i ORDER BY id").fetchall() == before


def test_a_retired_tenant_gets_nothing_new_and_one_with_routers_or_users_is_not_retired(
    database: str, connection: Connection
) -> None:
    run(database, "tenants", "add", "acme", "--currency", "EUR")
    run(database, "routers", "add", "lobby", "--timezone", "UTC")
    run(database, "routers", "assign", "lobby", "--tenant", "acme", "--from", "2026-01-01")
    assert 'the tenant "acme" has routers, such as #1 "lobby"' in refused(
        database, "tenants", "retire", "acme"
    )
    run(database, "routers", "assign", "lobby", "--none")
    connection.execute(
        """INSERT INTO plans (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'p');
           INSERT INTO subscribers (username, plan_id, tenant_id) SELECT 'alice', 1, id FROM radmeter.tenants"""
    )
    assert 'has users (1): first "radmeter users set USER --tenant none"' in refused(
        database, "tenants", "retire", "acme"
    )
    connection.execute("UPDATE subscribers SET tenant_id = NULL")
    assert run(database, "tenants", "retire", "acme") == "tenant 'acme' is retired\n"
    assert run(database, "tenants", "retire", "acme") == "tenant 'acme' is retired already\n"
    assert radmeter(database, "tenants", "list", "--format", "json").json() == []
    assert len(radmeter(database, "tenants", "list", "--retired", "--format", "json").json()) == 1
    assert 'the tenant "acme" is retired' in refused(
        database, "routers", "assign", "lobby", "--tenant", "acme", "--from", "2026-01-01"
    )
    run(database, "tenants", "retire", "acme", "--undo")
    run(database, "routers", "assign", "lobby", "--tenant", "acme", "--from", "2026-01-01")


def test_the_list_of_tenants_counts_their_routers_of_today_and_their_users(
    database: str, connection: Connection
) -> None:
    for name in ("beta", "acme"):
        run(database, "tenants", "add", name, "--currency", "EUR", "--timezone", "UTC")
    for name, tenant in (("a", "acme"), ("b", "acme"), ("c", "beta")):
        run(database, "routers", "add", name)
        run(database, "routers", "assign", name, "--tenant", tenant, "--from", "2026-01-01")
    run(database, "routers", "assign", "b", "--tenant", "beta", "--from", "2099-01-01")
    run(database, "tenants", "rate", "acme", "--from", "2026-01-01", "--per-gb", "1")
    rows = radmeter(database, "tenants", "list", "--format", "csv").csv()
    assert [(row["name"], row["routers"], row["rate_from"]) for row in rows] == [
        ("acme", "2", "2026-01-01"),
        ("beta", "1", ""),
    ]
    shown = radmeter(database, "tenants", "show", "beta", "--format", "json").json()
    assert [(each["router"], each["from_day"], each["until_day"]) for each in shown["assignments"]] == [
        ("c", "2026-01-01", None),
        ("b", "2099-01-01", None),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "default"), 'there is an issuer "default" already'),
        (("add", "b"), 'the issuer "default" has such a format of numbers'),
        (
            ("add", "b", "--number-format", "{year}-{number}"),
            'the issuer "default" has such a format of numbers',
        ),
        (("add", "b", "--number-format", "B-{year}"), "a format of numbers has {number}"),
        (("add", "b", "--number-format", "{number}{number}"), "a format of numbers has {number}"),
        (("add", "b", "--number-format", "../{number}"), "a format of numbers has {number}"),
        (("add", "b", "--number-format", "B{number}", "--yearly"), "the format needs {year}"),
        (("add", "b", "--number-format", "B{number}", "--credit-format", "B{number:03}"), "give two formats"),
        (("set", "who", "--yearly"), 'there is no issuer "who": "radmeter billing issuers list" lists them'),
        (("set", "default"), "give at least one value"),
    ],
)
def test_two_documents_cannot_have_the_same_number(
    database: str, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(database, "billing", "issuers", *arguments)


def test_an_issuer_that_has_given_numbers_goes_on_with_them(database: str, connection: Connection) -> None:
    run(database, "billing", "issuers", "set", "default", "--yearly", "--legal-name", "Example Ltd")
    connection.execute("INSERT INTO radmeter.document_number VALUES (1, 'invoice', 2026, 3)")
    assert 'the issuer "default" has given numbers, which would come again' in refused(
        database, "billing", "issuers", "set", "default", "--running"
    )
    run(database, "billing", "issuers", "set", "default", "--address", "1 Main St", "--legal-name", "")
    (row,) = radmeter(database, "billing", "issuers", "list", "--format", "json").json()
    assert (row["yearly"], row["address"], row["legal_name"]) == (True, "1 Main St", None)
