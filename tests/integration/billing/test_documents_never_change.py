"""What is issued never changes: every way to change it is refused, to the owner and to each role."""

import json
from typing import Any

import psycopg
import pytest
from support.books import FORMER, GB, LATEST, Books, day
from support.servers import Connection

from radmeter.schema.sql_files import GRANTEES

TABLES = ("invoices", "invoice_lines", "invoice_usage", "credit_notes", "credit_note_lines")
FORBIDDEN = {
    "RM007": [
        *(f"DELETE FROM public.{table}" for table in TABLES),
        *(f"TRUNCATE public.{table} CASCADE" for table in TABLES),
        "UPDATE public.invoices SET amount = amount + 1, net = net + 1",
        "UPDATE public.invoices SET recipient = '{}'",
        "UPDATE public.invoices SET number = 'other'",
        "UPDATE public.invoices SET status = 'draft', number = NULL, issued_at = NULL",
        "UPDATE public.invoices SET status = 'void', voided_at = now()",
        "UPDATE public.invoices SET close_id = NULL",
        "UPDATE public.invoice_lines SET net = 0",
        "UPDATE public.invoice_lines SET description = 'other'",
        "UPDATE public.invoice_usage SET bytes_in = 0",
        "UPDATE public.credit_notes SET reason = 'other'",
        "UPDATE public.credit_note_lines SET net = 0",
        "INSERT INTO public.invoice_lines SELECT (jsonb_populate_record(one, '{\"line\": 99}')).* "
        "FROM public.invoice_lines AS one",
        "INSERT INTO public.invoice_usage SELECT invoice_id, router_id + 1, usage_date, 1, 1 FROM public.invoice_usage",
        "INSERT INTO public.invoice_usage VALUES (99999, 1, current_date, 1, 1)",
        "INSERT INTO public.credit_note_lines SELECT credit_note_id, line + 1, invoice_line, description, net, "
        "tax_rate, tax_rule FROM public.credit_note_lines",
        "UPDATE radmeter.billing_close SET settings = '{\"other\": 1}'",
        "TRUNCATE radmeter.billing_close CASCADE",
        "UPDATE radmeter.document_number SET last = last - 1",
        "DELETE FROM radmeter.document_number",
        "TRUNCATE radmeter.document_number",
        "DELETE FROM radmeter.tenants",
        "TRUNCATE radmeter.tenants CASCADE",
        "DELETE FROM public.routers",
        "TRUNCATE public.routers CASCADE",
    ],
    # Foreign keys.
    "23503": ["DELETE FROM radmeter.billing_close", "DELETE FROM radmeter.issuers"],
}


@pytest.fixture(autouse=True)
def _issued(books: Books) -> None:
    books.tenant("acme", tax_rate="19")
    books.router("lobby", "acme")
    books.used("lobby", day(LATEST, 3), 4 * GB)
    (number,) = books.closed(LATEST)
    books.credit(number, "1")


CALLS = (
    "freeze_usage('2020-01-01', '{}', '{}')",
    "close_users('2020-01-01', '{}')",
    "write_drafts('[]')",
    "drop_empty_drafts('{}')",
    "note_close('2020-01-01', '{}')",
    "discard_drafts('2020-01-01', NULL)",
    "issue_drafts('{}')",
    "add_credit_note('{}')",
    "set_billing_setting('zero', 'draft')",
)
# These believe what they are given, such as a number and a time.
RESTORES = ("restore_invoice('{}')", "restore_credit_note('{}')")


def state_of(connection: Connection, role: str, statement: str) -> str | None:
    """Return the SQLSTATE with which a statement of a role is refused; None: it is not. It is rolled back."""
    try:
        with connection.transaction(force_rollback=True):
            if role:
                connection.execute(f"SET LOCAL ROLE {role}".encode())
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate
    return None


@pytest.mark.parametrize("role", ["", "radmeter_owner"])
def test_the_owner_and_a_superuser_are_refused(books: Books, role: str) -> None:
    before = books.everything()
    found = {
        statement: (state_of(books.connection, role, statement), state)
        for state, some in FORBIDDEN.items()
        for statement in some
    }
    assert {statement: states for statement, states in found.items() if len({*states}) > 1} == {}
    assert books.everything() == before


@pytest.mark.parametrize("role", GRANTEES)
def test_no_role_has_the_right(books: Books, role: str) -> None:
    found = {each: state_of(books.connection, role, each) for some in FORBIDDEN.values() for each in some}
    assert {each: state for each, state in found.items() if state != "42501"} == {}


def test_only_radmeter_billing_closes_issues_and_credits(books: Books) -> None:
    for role in {*GRANTEES} - {"radmeter_billing"}:
        found = {call: state_of(books.connection, role, f"SELECT radmeter.{call}") for call in CALLS}
        assert {call: state for call, state in found.items() if state != "42501"} == {}
    found = {
        call: state_of(books.connection, "radmeter_billing", f"SELECT radmeter.{call}") for call in CALLS
    }
    assert "42501" not in found.values()
    for role in GRANTEES:
        assert {state_of(books.connection, role, f"SELECT radmeter.{call}") for call in RESTORES} == {"42501"}


@pytest.mark.parametrize(
    "call", ["close_users(%(month)s, '{}')", "freeze_usage(%(month)s, %(tenants)s, '{}')"]
)
def test_the_database_closes_no_month_that_goes_on(books: Books, call: str) -> None:
    values = {"tenants": [books.tenants["acme"]]}
    with books.connection.transaction(force_rollback=True):
        books.connection.execute("SET LOCAL ROLE radmeter_billing")
        books.connection.execute(f"SELECT radmeter.{call}".encode(), {**values, "month": FORMER.first})
    this = LATEST.next.next
    for month in (this, this.next):
        with pytest.raises(psycopg.Error, match=f"{month} cannot be closed yet: it ends at") as caught:
            books.connection.execute(f"SELECT radmeter.{call}".encode(), {**values, "month": month.first})
        assert caught.value.sqlstate == "RM001"


def test_a_frozen_draft_that_nobody_priced_cannot_be_issued(books: Books) -> None:
    with books.connection.transaction():
        books.connection.execute("SET LOCAL ROLE radmeter_billing")
        ((draft,),) = books.connection.execute(
            "SELECT invoice_id FROM radmeter.freeze_usage(%s, %s, '{}')",
            (FORMER.first, [books.tenants["acme"]]),
        ).fetchall()
    with pytest.raises(psycopg.Error, match="has no recipient") as caught:
        books.connection.execute("SELECT radmeter.issue_drafts(%s)", ([draft],))
    assert caught.value.sqlstate == "RM007"


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"tax": "4"}, "the tax of"),
        ({"tax": "4", "taxes": [{"rate": "0", "rule": None, "net": "0.50", "tax": "4"}]}, "the tax of"),
        ({"tax": "0", "taxes": [{"rate": "0", "rule": None, "net": "0.50", "tax": "0"}]}, "the tax of"),
        ({"usage_bytes": 5}, "the octets of"),
        ({"recipient": None}, "has no recipient"),
        ({"net": "1"}, "is not the sum of its lines"),
        ({}, None),
    ],
)
def test_a_draft_whose_sums_were_forged_cannot_be_issued(
    books: Books, forged: dict[str, Any], message: str | None
) -> None:
    books.used("lobby", day(FORMER, 4), GB)
    books.discard(FORMER)
    books.close(FORMER)
    ((draft, text),) = books.connection.execute(
        "SELECT id, to_json(invoice)::text FROM invoices AS invoice WHERE status = 'draft'"
    ).fetchall()
    document = {**json.loads(text), "lines": [], **forged}
    with books.connection.transaction(force_rollback=True):
        books.connection.execute("SELECT radmeter.write_drafts(%s)", (json.dumps([document]),))
        if message is None:
            books.connection.execute("SELECT radmeter.issue_drafts(%s)", ([draft],))
            return
        with pytest.raises(psycopg.Error, match=message) as caught:
            books.connection.execute("SELECT radmeter.issue_drafts(%s)", ([draft],))
        assert caught.value.sqlstate == "RM007"


LINE = {"invoice_line": 1, "description": "x", "net": "0.50", "tax_rate": "19", "tax_rule": None}
NOTE = {
    "net": "0.50",
    "tax": "0.10",
    "taxes": [{"rate": "19", "rule": None, "net": "0.50", "tax": "0.10"}],
    "reason": "r",
    "lines": [LINE],
}


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"lines": []}, "not the sum of its lines"),
        ({"taxes": [{"rate": "77", "rule": None, "net": "900", "tax": "0.10"}]}, "its taxes are not those"),
        ({"tax": "0.09"}, "its taxes are not those"),
        ({"net": "0.00001", "lines": [{**LINE, "net": "0.00001"}]}, "EUR has 2 digits"),
        (
            {
                "net": "-0.50",
                "tax": "0",
                "taxes": [{"rate": "19", "rule": None, "net": "-0.50", "tax": "0"}],
                "lines": [{**LINE, "net": "-0.50"}],
            },
            "it would charge",
        ),
        ({"lines": [{**LINE, "invoice_line": 98}]}, "does not have one of its lines"),
        ({}, None),
    ],
)
def test_a_credit_note_that_is_no_part_of_its_invoice_is_refused(
    books: Books, forged: dict[str, Any], message: str | None
) -> None:
    ((invoice,),) = books.connection.execute("SELECT id FROM invoices").fetchall()
    note = json.dumps({**NOTE, "invoice_id": invoice, **forged})
    with books.connection.transaction(force_rollback=True):
        books.connection.execute("SET LOCAL ROLE radmeter_billing")
        if message is None:
            books.connection.execute("SELECT radmeter.add_credit_note(%s)", (note,))
            return
        with pytest.raises(psycopg.Error, match=message) as caught:
            books.connection.execute("SELECT radmeter.add_credit_note(%s)", (note,))
        assert caught.value.sqlstate == "RM001"


def test_an_issue_needs_a_drawn_number_and_lines_that_add_up(books: Books) -> None:
    books.used("lobby", day(LATEST, 4), GB)
    books.connection.execute("ALTER TABLE radmeter.billing_close DISABLE TRIGGER USER")
    draft = """WITH made AS (
                   INSERT INTO radmeter.billing_close (period, tenant_id) VALUES ('2020-01-01', NULL) RETURNING id)
               INSERT INTO invoices (tenant_id, close_id, status, period_start, period_end, currency, digits, issuer_id,
                                     net, tax, amount, taxes, usage_bytes, recipient, issuer, issued_at)
               SELECT tenant_id, (SELECT id FROM made), 'draft', period_start, period_end, currency, digits, issuer_id,
                      %s, 0, %s, '[]', 0, recipient, issuer, NULL FROM invoices LIMIT 1 RETURNING id"""
    for net, sequence in ((1, 1), (0, 99)):
        with books.connection.transaction(force_rollback=True):
            ((invoice,),) = books.connection.execute(draft.encode(), (net, net)).fetchall()
            with pytest.raises(psycopg.Error) as caught:
                books.connection.execute(
                    """UPDATE invoices SET status = 'issued', number = 'n', number_year = 0, sequence = %s,
                                           issued_at = now()
                       WHERE id = %s""",
                    (sequence, invoice),
                )
            assert caught.value.sqlstate == "RM007"


def test_a_tenant_and_a_router_without_documents_can_be_deleted(books: Books) -> None:
    books.tenant("beta")
    books.connection.execute(
        "DELETE FROM radmeter.tenant_rates WHERE tenant_id = %s", (books.tenants["beta"],)
    )
    books.connection.execute("DELETE FROM radmeter.tenants WHERE name = 'beta'")
    books.router("pool")
    books.connection.execute("DELETE FROM routers WHERE name = 'pool'")
    books.connection.execute("UPDATE routers SET name = 'renamed' WHERE name = 'lobby'")


def test_an_invoice_of_another_program_keeps_what_it_bills_and_that_programs_columns_may_change(
    connection: Connection,
) -> None:
    connection.execute("ALTER TABLE public.invoices ADD COLUMN paid_at date")
    connection.execute(
        """INSERT INTO public.invoices (username, period_start, period_end, usage, amount, currency)
           VALUES ('alice', '2020-01-01', '2020-02-01', 12.5, 9.90, 'EUR')"""
    )
    connection.execute("UPDATE public.invoices SET paid_at = '2020-02-07' WHERE username = 'alice'")
    for change in (
        "amount = 1",
        "usage = 1",
        "username = 'bob'",
        "status = 'draft'",
        "close_id = 1",
        "currency = NULL",
    ):
        with pytest.raises(psycopg.Error, match="what it bills never changes") as refused:
            connection.execute(f"UPDATE public.invoices SET {change} WHERE username = 'alice'".encode())
        assert refused.value.sqlstate == "RM007"
    kept = "SELECT amount::text, paid_at::text FROM public.invoices WHERE username = 'alice'"
    assert connection.execute(kept).fetchall() == [("9.90", "2020-02-07")]
    connection.execute("DELETE FROM public.invoices WHERE username = 'alice'")
    assert connection.execute(kept).fetchall() == []
