"""Shows the figures to Prometheus, in its text format or as OpenMetrics, as the scraper asks."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, cast

from radmeter.metrics.catalog import METRICS
from radmeter.metrics.figures import Figures
from radmeter.metrics.metric import Buckets, Metric, Sample

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


class Exposition:
    """Writes the figures for a scraper.

    Parameters
    ----------
    read
        Gives the figures, such as `Source.read`.
    process
        Whether there are also the usual ``process_`` metrics of this program: memory, processor time, open files.
    """

    def __init__(
        self, read: Callable[[], Figures], *, metrics: Iterable[Metric] = METRICS, process: bool = True
    ) -> None:
        # Imported here because only metrics need it.
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._read = read
        self._metrics = tuple(metrics)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        if process:
            ProcessCollector(registry=self._registry)

    def __call__(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text and its content type. `accept` is the header Accept of the request."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable["Family"]:
        """Return nothing: the registry need not read the figures to know the names."""
        return ()

    def collect(self) -> Iterator["Family"]:
        """Yield all metrics. The registry calls it for each scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        figures = self._read()
        for metric in self._metrics:
            if metric.kind == "histogram":
                buckets, total = cast(Buckets, metric.read(figures))
                histogram = HistogramMetricFamily(metric.name, metric.help)
                histogram.add_metric([], buckets=buckets, sum_value=total)
                yield histogram
                continue
            family: CounterMetricFamily | GaugeMetricFamily
            if metric.kind == "counter":
                family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            else:
                family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in cast(Iterable[Sample], metric.read(figures)):
                if value is not None:
                    family.add_metric([_label(each) for each in labels], value)
            yield family


def _label(text: object) -> str:
    """Return the value of a label. Characters that are no text would make the whole page unreadable."""
    return str(text).encode("utf-8", "backslashreplace").decode()
