"""The settings of billing, which the database keeps: rounding, tax, settling time and others."""

import json
from decimal import Decimal
from typing import Any, NamedTuple, Self

from radmeter.billing.lines import Money, TaxMode
from radmeter.billing.rounding import Rounding
from radmeter.billing.wording import language_of
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import Row, rows

ROLE = "radmeter_billing"
LIST = 'SELECT name, value, default_value AS "default", meaning FROM radmeter.billing_settings()'


class BillingSettings(NamedTuple):
    """The settings in force."""

    rounding: Rounding
    tax: TaxMode
    zero: str
    settling_hours: int
    currency: str | None
    users_tax_rate: Decimal
    users_tax_rule: str | None

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """Read them from the database."""
        values = {row["name"]: row["value"] for row in settings(connection)}
        return cls(
            rounding=Rounding(values["rounding"]),
            tax=TaxMode(values["tax"]),
            zero=values["zero"],
            settling_hours=int(values["settling_hours"]),
            currency=values["currency"],
            users_tax_rate=Decimal(values["users_tax_rate"]),
            users_tax_rule=values["users_tax_rule"],
        )

    def money(self, currency: str, digits: int, language: str) -> Money:
        """Return how amounts of a currency are rounded and said. Another language than those we know is English."""
        return Money(
            currency=currency,
            digits=digits,
            rounding=self.rounding,
            tax=self.tax,
            language=language_of(language)[0],
        )

    def as_json(self) -> str:
        """Return them as they are kept with a closed month."""
        return json.dumps({name: str(value) for name, value in self._asdict().items() if value is not None})


def settings(connection: Connection) -> list[Row]:
    """Return the settings in the order of their names: value, default, meaning."""
    return rows(connection, LIST)


def set_setting(connection: Any, name: str, value: str) -> bool:
    """Set a setting. Return whether the value changed. Raises StoreError if the setting does not take the value."""
    with explained_errors(ROLE):
        ((changed,),) = connection.execute(
            "SELECT radmeter.set_billing_setting(%s, %s)", (name, value)
        ).fetchall()
    return bool(changed)
