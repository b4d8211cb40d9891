"""The words of statements in each language, and numbers as each writes them. Dates are ISO 8601 in all."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

FALLBACK = "en"

ENGLISH = {
    "invoice": "Invoice",
    "draft": "Draft",
    "draft_mark": "DRAFT: this is not an invoice. It has no number, and may change.",
    "void_mark": "VOID: this invoice was cancelled on {day}.",
    "from": "From",
    "to": "To",
    "tax_id": "Tax id",
    "number": "Number",
    "date": "Date",
    "period": "Period",
    "period_value": "{first} to {last}, both included",
    "time_zone": "Time zone",
    "currency": "Currency",
    "tenant": "Tenant",
    "usage": "Usage",
    "octets": "octets",
    "net": "Net",
    "tax": "Tax",
    "total": "Total",
    "sum": "Sum",
    "credited": "Credited",
    "open": "Open amount",
    "in_your_favour": "In your favour",
    "days": "Usage by day",
    "chart": "Octets of all routers on each day of {period}",
    "received": "from users (in)",
    "sent": "to users (out)",
    "routers": "Routers",
    "router": "Router",
    "month": "Month",
    "days_used": "Days",
    "bytes_in": "Octets in",
    "bytes_out": "Octets out",
    "bytes_total": "Octets",
    "lines": "Lines",
    "line": "No.",
    "description": "Description",
    "quantity": "Quantity",
    "unit_price": "Price",
    "amount": "Amount",
    "tax_rate": "Tax %",
    "taxes": "Tax",
    "rate": "Rate",
    "rule": "Rule",
    "base": "Of",
    "credits": "Credit notes",
    "reason": "Reason",
    "voids": "cancels the invoice",
    "earlier": "for {month}, which was closed before",
    "notes": "Notes",
    "note_units": "1 GB = 1,000,000,000 octets; 1 GiB = 1,073,741,824 octets. Both directions count.",
    "note_rounding": "Volumes and prices are not rounded. The net amount of each line is rounded once, {rounding}, to "
    "{digits} digits of {currency}.",
    "half-up": "half up",
    "half-even": "half to even",
    "note_sum": "The tax of each rate is taken of the sum of its lines, and rounded once.",
    "note_line": "The tax is taken of each line and rounded, then added up.",
    "note_days": "A day is that of the router's time zone. Names of routers are those of when this file was made.",
    "note_earlier": "{octets} octets are of earlier months, which were closed before these were counted. Their lines "
    "name the month. Less than 0: fewer than were billed.",
    "note_negative": "The total is less than 0: it is in your favour.",
    "note_attached": "The lines are attached to this file as lines.csv.",
    "page": "Page {page} of {pages}",
}
GERMAN = {
    "invoice": "Rechnung",
    "draft": "Entwurf",
    "draft_mark": "ENTWURF: Dies ist keine Rechnung. Er hat keine Nummer und kann sich ändern.",
    "void_mark": "STORNIERT: Diese Rechnung wurde am {day} aufgehoben.",
    "from": "Von",
    "to": "An",
    "tax_id": "Steuernummer",
    "number": "Nummer",
    "date": "Datum",
    "period": "Zeitraum",
    "period_value": "{first} bis {last}, beide eingeschlossen",
    "time_zone": "Zeitzone",
    "currency": "Währung",
    "tenant": "Mandant",
    "usage": "Verbrauch",
    "octets": "Oktette",
    "net": "Netto",
    "tax": "Steuer",
    "total": "Gesamtbetrag",
    "sum": "Summe",
    "credited": "Gutgeschrieben",
    "open": "Offener Betrag",
    "in_your_favour": "Zu Ihren Gunsten",
    "days": "Verbrauch nach Tagen",
    "chart": "Oktette aller Router an jedem Tag von {period}",
    "received": "von Nutzern (ein)",
    "sent": "an Nutzer (aus)",
    "routers": "Router",
    "router": "Router",
    "month": "Monat",
    "days_used": "Tage",
    "bytes_in": "Oktette ein",
    "bytes_out": "Oktette aus",
    "bytes_total": "Oktette",
    "lines": "Positionen",
    "line": "Nr.",
    "description": "Beschreibung",
    "quantity": "Menge",
    "unit_price": "Preis",
    "amount": "Betrag",
    "tax_rate": "Steuer %",
    "taxes": "Steuer",
    "rate": "Satz",
    "rule": "Regel",
    "base": "Von",
    "credits": "Gutschriften",
    "reason": "Grund",
    "voids": "hebt die Rechnung auf",
    "earlier": "für {month}, der schon abgeschlossen war",
    "notes": "Hinweise",
    "note_units": "1 GB = 1.000.000.000 Oktette; 1 GiB = 1.073.741.824 Oktette. Beide Richtungen zählen.",
    "note_rounding": "Mengen und Preise sind nicht gerundet. Der Nettobetrag jeder Position ist einmal gerundet, "
    "{rounding}, auf {digits} Stellen von {currency}.",
    "half-up": "kaufmännisch",
    "half-even": "zur geraden Ziffer",
    "note_sum": "Die Steuer jedes Satzes wird von der Summe seiner Positionen berechnet und einmal gerundet.",
    "note_line": "Die Steuer wird von jeder Position berechnet und gerundet, dann addiert.",
    "note_days": "Ein Tag ist der in der Zeitzone des Routers. Die Namen der Router sind die von dem Tag, an dem diese "
    "Datei entstand.",
    "note_earlier": "{octets} Oktette sind aus früheren Monaten, die abgeschlossen waren, bevor sie gezählt wurden. "
    "Ihre Positionen nennen den Monat. Weniger als 0: weniger, als berechnet wurden.",
    "note_negative": "Der Gesamtbetrag ist kleiner als 0: Er ist zu Ihren Gunsten.",
    "note_attached": "Die Positionen sind dieser Datei als lines.csv angehängt.",
    "page": "Seite {page} von {pages}",
}


@dataclass(frozen=True)
class Language:
    """A language: its code, its words, and what separates thousands and the fraction of a number."""

    code: str
    words: Mapping[str, str]
    thousands: str
    point: str

    def __getitem__(self, word: str) -> str:
        """Return a word."""
        return self.words[word]

    def whole(self, number: int) -> str:
        """Return a whole number, such as ``1,234``."""
        return f"{number:,}".replace(",", self.thousands)

    def number(self, number: Decimal, digits: int = 0) -> str:
        """Return a number with all its digits, and at least so many after the point. Nothing is rounded."""
        # As text: computing with a Decimal rounds it to 28 digits.
        whole, _, decimals = f"{number.copy_abs():f}".partition(".")
        decimals = decimals.rstrip("0").ljust(digits, "0")
        sign = "-" if number < 0 else ""
        return f"{sign}{self.whole(int(whole))}{self.point if decimals else ''}{decimals}"

    def amount(self, number: Decimal, digits: int, currency: str) -> str:
        """Return an amount of money with the digits of its currency."""
        return f"{self.number(number, digits)} {currency}"


LANGUAGES = {
    "en": Language("en", ENGLISH, ",", "."),
    "de": Language("de", GERMAN, ".", ","),
}


def language_of(code: str) -> tuple[Language, bool]:
    """Return a language, and whether it is the one that was asked for. ``de-AT`` and ``de_AT`` are ``de``."""
    found = LANGUAGES.get(code.replace("_", "-").split("-")[0].lower())
    return (LANGUAGES[FALLBACK], False) if found is None else (found, True)
