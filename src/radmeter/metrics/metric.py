"""A metric: its name, what it means, and how its samples are read from the figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from radmeter.metrics.figures import Figures

Kind = Literal["counter", "gauge", "histogram"]
Value = float | int | None
# The values of the labels, and the value. Samples without a value are left out.
Sample = tuple[tuple[str, ...], Value]
# A histogram's: the counts up to each bound, and the sum.
Buckets = tuple[list[tuple[str, float]], float]
Samples = Callable[[Figures], Iterable[Sample]]


@dataclass(frozen=True)
class Metric:
    """A metric. `name` is as Prometheus knows it; that of a counter ends in ``_total``.

    `of_host`: it is about this host, and `radmeter metrics --textfile` has it.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[Figures], Iterable[Sample] | Buckets]
    labels: tuple[str, ...] = ()
    of_host: bool = False


def counter(name: str, help_: str, read: Samples, *labels: str) -> Metric:
    """Return a counter."""
    return Metric(name, "counter", help_, read, labels)


def gauge(name: str, help_: str, read: Samples, *labels: str, of_host: bool = False) -> Metric:
    """Return a gauge."""
    return Metric(name, "gauge", help_, read, labels, of_host)


def histogram(name: str, help_: str, read: Callable[[Figures], Buckets]) -> Metric:
    """Return a histogram."""
    return Metric(name, "histogram", help_, read)
