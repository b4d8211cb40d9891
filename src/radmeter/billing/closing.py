"""Closes a month: what counts is frozen, priced and written as drafts, in one transaction."""

import datetime
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg

from radmeter import waits
from radmeter.billing import frozen, user_closing
from radmeter.billing.adjusting import Billed, adjust, tax_for
from radmeter.billing.lines import Line, Tax, totals
from radmeter.billing.months import Month
from radmeter.billing.pricing import Quantities, price_month
from radmeter.billing.rates import Rate, canonical
from radmeter.billing.settings import ROLE, BillingSettings
from radmeter.billing.tenants_of_close import Party, earlier_month, parties, refuse_unended
from radmeter.billing.writing import as_document, write
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError
