"""Turns a statement into text: headings, facts, tables and notes. HTML and PDF show the same, and compute nothing."""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from radmeter.billing.statements.document import Document, Line, Statement
from radmeter.billing.wording import Language
from radmeter.charts import Bar, bar_chart
from radmeter.printable import escaped

ONE_DAY = timedelta(days=1)
# More in the head help nobody.
MOST_ZONES = 5


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table. `align` has a letter for each column: l, r, or w for the one that takes what is left of the width."""

    title: str
    head: Sequence[str]
    align: str
    rows: Sequence[Sequence[Sequence[str]]]
    """Each cell is a list of lines; those after the first are small."""
    foot: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """A document, laid out."""

    title: str
    mark: str
    parties: Sequence[tuple[str, Sequence[str]]]
    facts: Sequence[tuple[str, str]]
    totals: Sequence[tuple[str, str, bool]]
    """Label, value, and whether it is the one to look at."""
    chart_title: str
    chart: str
    tables: Sequence[Table]
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A statement, laid out."""

    language: str
    title: str
    page_words: str
    dated: date
    parts: Sequence[Part] = field(default_factory=tuple)

    def as_data(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {**asdict(self), "dated": self.dated.isoformat()}


def lay_out(statement: Statement, language: Language, *, attached: bool = False) -> Page:
    """Return the statement's text. `attached`: the file carries the lines, so its notes say so."""
    parts = [_part(document, statement, language, attached) for document in statement.documents]
    names = ", ".join(part.title for part in parts)
    return Page(
        language=language.code,
        title=_text(f"{statement.whose} {statement.period:%Y-%m}: {names}"),
        page_words=language["page"],
        dated=statement.dated,
        parts=parts,
    )


def _text(text: Any) -> str:
    """Return text of others without what cannot be seen: it is written out."""
    return escaped(str(text))


def _part(document: Document, statement: Statement, words: Language, attached: bool) -> Part:
    draft = document.status == "draft"
    kind = words["draft" if draft else "invoice" if document.credits_invoice is None else "credit_note"]
    mark = ""
    if draft:
        mark = words["draft_mark"]
    elif document.status == "void":
        mark = words["void_mark"].format(day=document.voided_on)
    elif document.voids:
        mark = words["voiding_mark"].format(invoice=_text(document.credits_invoice))
    chart_title, chart = _chart(document, statement, words)
    return Part(
        title=kind if draft else _text(f"{kind} {document.number or document.id}"),
        mark=mark,
        parties=[
            (words["from"], _party(document.issuer, words)),
            (words["to"], _party(document.recipient, words)),
        ],
        facts=_facts(document, statement, words),
        totals=_totals(document, words),
        chart_title=chart_title,
        chart=chart,
        tables=[
            table
            for table in (
                _lines(document, words),
                _taxes(document, words),
                _credits(document, words),
                _routers(document, words),
            )
            if table.rows
        ],
        notes=_notes(document, words, attached),
    )


def _party(party: Mapping[str, Any], words: Language) -> list[str]:
    """Return the lines of an address: as they were copied into the document."""
    name = party.get("legal_name") or party.get("name")
    lines = [str(name)] if name else []
    lines += [line for line in str(party.get("address") or "").splitlines() if line.strip()]
    if party.get("email"):
        lines.append(str(party["email"]))
    if party.get("tax_id"):
        lines.append(f"{words['tax_id']}: {party['tax_id']}")
    return [_text(line.strip()) for line in lines]


def _facts(document: Document, statement: Statement, words: Language) -> list[tuple[str, str]]:
    facts = []
    if document.number is not None:
        facts.append((words["number"], _text(document.number)))
    if document.issued_on is not None:
        facts.append((words["date"], document.issued_on.isoformat()))
    if document.credits_invoice is not None:
        facts.append((words["of_invoice"], _text(document.credits_invoice)))
        facts.append((words["reason"], _text(document.reason)))
    last = document.period_end - ONE_DAY
    facts.append((words["period"], words["period_value"].format(first=document.period_start, last=last)))
    # Days are cut by the zones of the routers. That of the tenant says only when the month could be closed.
    zones = sorted({each.timezone for each in document.routers if each.timezone})
    if zones:
        more = ", .." if len(zones) > MOST_ZONES else ""
        facts.append((words["time_zone"], _text(", ".join(zones[:MOST_ZONES])) + more))
    facts.append((words["currency"], document.currency))
    if statement.username is not None:
        facts.append((words["user"], _text(statement.username)))
    if statement.tenant:
        facts.append((words["tenant"], _text(statement.tenant)))
    return facts


def _totals(document: Document, words: Language) -> list[tuple[str, str, bool]]:
    def money(amount: Decimal) -> str:
        return words.money(amount, document.currency, document.digits)

    totals = []
    if document.usage_bytes is not None:
        totals.append((words["usage"], f"{words.whole(document.usage_bytes)} {words['octets']}"))
    totals += [(words["net"], money(document.net)), (words["tax"], money(document.tax))]
    totals.append((words["total"], money(document.amount)))
    credited = sum((each.amount for each in document.credits), Decimal(0))
    if document.credits:
        totals += [(words["credited"], money(-credited)), (words["open"], money(document.amount - credited))]
    *others, (label, value) = totals
    if document.credits_invoice is None and document.amount - credited < 0:
        label = words["in_your_favour"]
    return [*((*each, False) for each in others), (label, value, True)]


def _chart(document: Document, statement: Statement, words: Language) -> tuple[str, str]:
    """Return the heading and the SVG of the month's days; both empty if nothing was used in it."""
    first = statement.period.replace(day=1)
    days = calendar.monthrange(first.year, first.month)[1]
    used = {each.day: (each.bytes_in, each.bytes_out) for each in document.days}
    bars = [
        Bar(label=str(number + 1), octets=used.get(first + number * ONE_DAY, (0, 0)))
        for number in range(days)
    ]
    if not any(any(bar.octets) for bar in bars):
        return "", ""
    period = f"{first:%Y-%m}"
    svg = bar_chart(
        bars,
        title=words["chart"].format(period=period),
        legend=(words["received"], words["sent"]),
        point=words.point,
    )
    return f"{words['days']}, {period}", svg


def _lines(document: Document, words: Language) -> Table:
    rows: list[Sequence[list[str]]] = []
    for line in document.lines:
        below = [f"{line.period_start} – {line.period_end - ONE_DAY}"]
        if line.adjusts:
            below[0] += f" ({words['earlier'].format(month=f'{line.period_start:%Y-%m}')})"
        if line.arithmetic:
            below.append(_text(line.arithmetic))
        quantity = "" if line.quantity is None else words.number(line.quantity)
        rows.append(
            (
                [str(line.number)],
                [_text(line.description), *below],
                [f"{quantity} {_unit(line, words)}".strip()],
                [_price(line, document, words)],
                [words.number(line.tax_rate)],
                [words.number(line.net, document.digits)],
            )
        )
    head = [words[name] for name in ("line", "description", "quantity", "unit_price", "tax_rate", "amount")]
    head[-1] += f" ({document.currency})"
    total = ["", words["net"], "", "", "", words.number(document.net, document.digits)]
    if document.credits_invoice is not None:
        # What is given back of a line has neither a quantity nor a price.
        rows = [(*row[:2], *row[4:]) for row in rows]
        del head[2:4], total[2:4]
    return Table(title=words["lines"], head=head, align="rw" + "r" * (len(head) - 2), rows=rows, foot=total)


def _unit(line: Line, words: Language) -> str:
    """Return the unit as the language says it. GB, GiB and currencies are the same in all."""
    return _text(words.words.get(f"unit_{line.unit}", line.unit or ""))


def _price(line: Line, document: Document, words: Language) -> str:
    if line.unit_price is None:
        return ""
    price = words.number(line.unit_price, document.digits)
    return price if line.per == 1 else f"{price} / {words.whole(line.per)}"


def _taxes(document: Document, words: Language) -> Table:
    rows = [
        (
            [f"{words.number(Decimal(str(each['rate'])))} %"],
            [_text(each.get("rule") or "")],
            [words.number(Decimal(str(each["net"])), document.digits)],
            [words.number(Decimal(str(each["tax"])), document.digits)],
        )
        for each in document.taxes
    ]
    head = [words["rate"], words["rule"], words["base"], f"{words['tax']} ({document.currency})"]
    total = ("", words["tax"], "", words.number(document.tax, document.digits))
    return Table(title=words["taxes"], head=head, align="rwrr", rows=rows, foot=total)


def _credits(document: Document, words: Language) -> Table:
    rows = [
        (
            [_text(each.number)],
            [each.issued_on.isoformat()],
            [_text(each.reason), *([words["voids"]] if each.voids else [])],
            [words.number(each.net, document.digits)],
            [words.number(each.tax, document.digits)],
            [words.number(each.amount, document.digits)],
        )
        for each in document.credits
    ]
    head = [words[name] for name in ("number", "date", "reason", "net", "tax", "amount")]
    head[-1] += f" ({document.currency})"
    return Table(title=words["credits"], head=head, align="llwrrr", rows=rows)


def _routers(document: Document, words: Language) -> Table:
    rows = [
        (
            [_text(each.name) or f"#{each.router_id}", *([each.mac] if each.mac else [])],
            [f"{each.month:%Y-%m}"],
            [words.whole(each.days)],
            [words.whole(each.bytes_in)],
            [words.whole(each.bytes_out)],
            [words.whole(each.bytes_in + each.bytes_out)],
        )
        for each in document.routers
    ]
    head = [words[name] for name in ("router", "month", "days_used", "bytes_in", "bytes_out", "bytes_total")]
    sums = [sum(each.bytes_in for each in document.routers), sum(each.bytes_out for each in document.routers)]
    total = (words["sum"], "", "", *map(words.whole, (*sums, sum(sums))))
    return Table(title=words["routers"], head=head, align="wlrrrr", rows=rows, foot=total)


def _notes(document: Document, words: Language, attached: bool) -> list[str]:
    terms = document.terms
    notes = []
    if document.credits_invoice is not None:
        notes.append(words["note_credit"])
        return [*notes, words["note_attached"]] if attached else notes
    if any(line.usage_bytes is not None for line in document.lines) or document.usage_bytes:
        notes.append(words["note_units"])
    rounding = _setting(terms, "rounding")
    if rounding in ("half-up", "half-even"):
        notes.append(
            words["note_rounding"].format(
                rounding=words[rounding], digits=document.digits, currency=document.currency
            )
        )
    if document.taxes:
        mode = _setting(terms, "tax")
        if mode in ("sum", "line"):
            notes.append(words["note_sum" if mode == "sum" else "note_line"])
    if document.routers:
        notes.append(words["note_days"])
    earlier = [each for each in document.days if each.day < document.period_start]
    if earlier:
        octets = sum(each.bytes_in + each.bytes_out for each in earlier)
        notes.append(words["note_earlier"].format(octets=words.whole(octets)))
    if document.amount < 0:
        notes.append(words["note_negative"])
    if attached:
        notes.append(words["note_attached"])
    return notes


def _setting(terms: Mapping[str, Any], name: str) -> str:
    """Return a setting that the document was made with."""
    return str(terms.get(name) or terms.get(f"billing_{name}") or "")
