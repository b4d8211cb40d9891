"""A line of audit_log in plain words: of what was changed, which values, before and after. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

# What names the thing that a line is about, in this order.
NAMES = ("username", "name", "setting", "limit", "tenant", "router", "plan", "role")
# Values that change with every change.
STAMPS = ("updated_at", "changed_at")
# More of a list in a line help nobody.
MOST = 3


def words(detail: Any) -> str:
    """Return the detail of a line in words: ``acme: tax rate 0 -> 19, tax rule none -> VAT 19 %``."""
    if isinstance(detail, list):
        return _list([words(each) for each in detail], "; ")
    if not isinstance(detail, Mapping):
        return _value(detail)
    if "before" not in detail and "after" not in detail:
        return _pairs(detail)
    others = {name: value for name, value in detail.items() if name not in ("before", "after")}
    before, after = detail.get("before"), detail.get("after")
    if "after" not in detail and not isinstance(before, Mapping) and "tenant" in others:
        # Whose it was, and whose it is.
        changes = [f"tenant {_value(before)} -> {_value(others.pop('tenant'))}"]
        return ", ".join(filter(None, (_pairs(others), *changes)))
    if not isinstance(before, Mapping) and not isinstance(after, Mapping):
        changed = f"{_value(before)} -> {_value(after)}" if "after" in detail else f"before: {_value(before)}"
        return ", ".join(filter(None, (f"{_pairs(others)}: {changed}" if others else changed,)))
    old: Mapping[str, Any] = before if isinstance(before, Mapping) else {}
    new: Mapping[str, Any] = after if isinstance(after, Mapping) else {}
    if "after" not in detail:
        return ", ".join(filter(None, (_pairs(others), f"was {_pairs(old)}")))
    changes = [
        f"{_name(name)} {_value(old.get(name))} -> {_value(new.get(name))}"
        for name in dict.fromkeys((*old, *new))
        if name not in STAMPS and old.get(name) != new.get(name)
    ]
    subject = [_pairs(others)] if others else []
    subject[:0] = [
        _value(each[name])
        for name in NAMES[:2]
        for each in (old or new,)
        if each.get(name) is not None and name not in others
    ][:1]
    said = ", ".join(changes) or "nothing changed"
    return f"{', '.join(subject)}: {said}" if subject else said


def _pairs(values: Mapping[str, Any]) -> str:
    """Return names with their values, what is named first. What there is not is left out."""
    ordered = sorted(values, key=lambda name: NAMES.index(name) if name in NAMES else len(NAMES))
    return ", ".join(
        f"{_name(name)} {_value(values[name])}" for name in ordered if values[name] not in (None, [], {})
    )


def _name(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _list([_value(each) for each in value], " ")
    return str(value)


def _list(values: Sequence[str], between: str) -> str:
    more = len(values) - MOST
    return between.join([*values[:MOST], *([f"and {more} more"] if more > 0 else [])]) or "none"
